//! The checks: each takes the root of a plugin and returns what is wrong with it, one sentence a fault.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value as Json;

use super::text::{self, Page};
use super::wrong;

fn json(root: &Path, file: &str, faults: &mut Vec<String>) -> Json {
    let parsed = fs::read_to_string(root.join(file))
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    parsed.unwrap_or_else(|error| {
        faults.push(format!("{file}: {error}"));
        Json::Null
    })
}

fn is_semver(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// `.claude-plugin/`: the two manifests, their keys, and nothing else beside them.
pub fn manifests(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let files = text::entries(&root.join(".claude-plugin")).into_iter();
    let strange = files.filter(|name| !["plugin.json", "marketplace.json", "icon.png"].contains(&name.as_str()));
    faults.extend(strange.map(|name| format!(".claude-plugin/{name}: Claude Code loads the manifests alone")));
    let plugin = json(root, ".claude-plugin/plugin.json", &mut faults);
    let known = ["name", "version", "description", "author", "repository", "license", "keywords"];
    let keys = plugin.as_object().into_iter().flat_map(|object| object.keys());
    let strange = keys.filter(|key| !known.contains(&key.as_str()));
    faults.extend(
        strange.map(|key| format!("plugin.json: the key `{key}` is not ours; one of a folder replaces its default")),
    );
    let market = json(root, ".claude-plugin/marketplace.json", &mut faults);
    let entry = &market["plugins"][0];
    let missing = |key: &str| plugin[key].as_str().is_none_or(str::is_empty);
    let settled = "Omni + Proxmox infrastructure provider management for Talos clusters";
    faults.extend(wrong([
        (root.join("CLAUDE.md").exists(), "CLAUDE.md: belongs in .claude/, in the root it fails the strict validation"),
        (plugin["name"] != "omni-scale", "plugin.json: `name` is not `omni-scale`"),
        // A string is an error for the validator, and 2.1.197 refuses to load it.
        (
            plugin["author"] != serde_json::json!({"name": "basher83"}),
            "plugin.json: `author` is not the object with the name `basher83`",
        ),
        (plugin["description"] != settled, "plugin.json: `description` is not the settled one"),
        (missing("repository") || missing("license"), "plugin.json: `repository` or `license` is missing"),
        (
            entry["name"] != plugin["name"] || entry["source"] != "./",
            "marketplace.json: its first plugin is not `omni-scale` from `./`",
        ),
        (
            entry["description"] != plugin["description"],
            "marketplace.json: the description is another than plugin.json's",
        ),
    ]));
    faults
}

/// The version of manifest, marketplace, workspace and lock file.
pub fn versions(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let plugin = json(root, ".claude-plugin/plugin.json", &mut faults);
    let version = plugin["version"].as_str().unwrap_or_default();
    if !is_semver(version) {
        faults.push(format!("plugin.json: the version `{version}` is not of the form 1.2.3"));
    }
    let market = json(root, ".claude-plugin/marketplace.json", &mut faults);
    // Without a version in the marketplace the manifest's holds, which is what we want.
    if market["plugins"][0].get("version").is_some_and(|listed| listed != version) {
        faults.push("marketplace.json: the version is another than plugin.json's".into());
    }
    let wanted = format!("version = \"{version}\"");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let package = manifest.split("[workspace.package]").nth(1).unwrap_or_default();
    if !package.lines().take_while(|line| !line.starts_with('[')).any(|line| line == wanted) {
        faults.push(format!("Cargo.toml: the workspace's version is not plugin.json's {version}"));
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    // Those of this repository come from nowhere else.
    let ours = lock.split("[[package]]\n").skip(1).filter(|package| !package.contains("\nsource = "));
    for package in ours.filter(|package| !package.lines().any(|line| line == wanted)) {
        let name = package.split('"').nth(1).unwrap_or_default();
        faults.push(format!("Cargo.lock: the version of {name} is not plugin.json's {version}"));
    }
    faults
}

/// `agents/`: found by name and description, and unable to write.
pub fn agents(root: &Path) -> Vec<String> {
    let files = text::entries(&root.join("agents"));
    let mut faults = wrong([(!files.contains(&"cluster-guide.md".to_owned()), "agents/cluster-guide.md: is missing")]);
    for file in files {
        let found = Page::read(&root.join("agents").join(&file)).map(|page| agent(root, &page, &file));
        let found = found.unwrap_or_else(|error| vec![error]);
        faults.extend(found.into_iter().map(|fault| format!("agents/{file}: {fault}")));
    }
    faults
}

fn agent(root: &Path, page: &Page, file: &str) -> Vec<String> {
    // `hooks`, `mcpServers` and `permissionMode` are ignored in a plugin's agents.
    let known = ["name", "description", "model", "color", "tools", "maxTurns", "skills"];
    let keys = page.unknown_keys(&known).into_iter().map(|key| format!("the front-matter key `{key}` is not ours"));
    // It plans. Questions are not possible in an agent: they belong in its answer.
    let tools = page.string("tools").unwrap_or("all of them").split(", ");
    let tools = tools.filter(|tool| !["Bash", "Read", "Grep", "Glob"].contains(tool));
    let skills = page.list("skills").unwrap_or_default().into_iter();
    let skills = skills.filter(|skill| !root.join("skills").join(skill).is_dir());
    let parts = ["You change nothing", "**Plan**", "**Open questions**", "never with `--yes`"].into_iter();
    let parts = parts.filter(|part| !page.body.contains(&part[1..]));
    let description = page.string("description").unwrap_or_default();
    let examples = description.matches("<example>").count();
    let mut faults = wrong([
        (page.string("name") != file.strip_suffix(".md"), "its name is not that of its file"),
        (
            !description.starts_with("Use this agent when") || !(2..=4).contains(&examples),
            "its description must begin with `Use this agent when` and hold 2 to 4 examples",
        ),
        (
            !["blue", "cyan", "green", "yellow", "red"].contains(&page.string("color").unwrap_or_default()),
            "its color is unknown",
        ),
    ]);
    faults.extend(keys);
    faults.extend(tools.map(|tool| format!("the tool `{tool}` is none that only looks")));
    faults.extend(skills.map(|skill| format!("the skill `{skill}` does not exist")));
    faults.extend(parts.map(|part| format!("does not say `{part}`")));
    faults
}

/// `hooks/`: the wrapper, the events, the deadline, and a script that is there and may run.
pub fn hooks(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let file = json(root, "hooks/hooks.json", &mut faults);
    // Without the wrapper the whole plugin fails to load.
    let Some(events) = file.get("hooks").and_then(Json::as_object) else {
        faults.push("hooks/hooks.json: the events do not stand under `hooks`".into());
        return faults;
    };
    for (event, matchers) in events {
        faults.extend(wrong([(event != "SessionStart", "hooks/hooks.json: an event that this plugin does not use")]));
        let matchers = matchers.as_array().into_iter().flatten();
        for hook in matchers.flat_map(|matcher| matcher["hooks"].as_array()).flatten() {
            faults.extend(wrong([
                (
                    hook["type"] != "command" || hook["command"] != "sh",
                    "hooks/hooks.json: a hook is not a command that `sh` runs",
                ),
                // The default is ten minutes.
                (
                    hook["timeout"].as_u64().is_none_or(|seconds| seconds > 10),
                    "hooks/hooks.json: a hook's `timeout` is not within 10 seconds",
                ),
            ]));
            let script = hook["args"][0].as_str().unwrap_or_default();
            match script.strip_prefix("${CLAUDE_PLUGIN_ROOT}/") {
                Some(script) => faults.extend(hook_script(root, script)),
                None => faults.push(format!("hooks/hooks.json: the script `{script}` is not the plugin's own")),
            }
        }
    }
    faults
}

fn hook_script(root: &Path, script: &str) -> Vec<String> {
    let path = root.join(script);
    let Ok(text) = fs::read_to_string(&path) else { return vec![format!("{script}: is missing")] };
    let mode = fs::metadata(&path).map_or(0, |data| data.permissions().mode());
    let mut faults = wrong([
        (mode & 0o111 != 0o111, "the run bit of the hook's script is not set"),
        (!text.starts_with("#!/bin/sh\n"), "the hook's script is not one for `#!/bin/sh`"),
    ]);
    let code: Vec<&str> = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#')).collect();
    for word in ["cargo ", "curl", "wget", "docker", "omnictl", ".env", "eval "] {
        if code.iter().any(|line| line.contains(word)) {
            faults.push(format!("{script}: uses `{}`, which a greeting has no time or right for", word.trim()));
        }
    }
    faults
}

/// `.claude/settings.json`: the files with secrets are denied to the assistant.
pub fn settings(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let settings = json(root, ".claude/settings.json", &mut faults);
    let denied: Vec<&str> =
        settings["permissions"]["deny"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let rules = "Read(**/.env) Read(**/docker/config.yaml) Read(**/*.asc) Read(**/target/lab/env) Edit(**/.env)";
    let open = rules.split(' ').filter(|rule| !denied.contains(rule));
    faults.extend(open.map(|rule| format!(".claude/settings.json: does not deny `{rule}`")));
    let granted = settings["permissions"].get("allow").is_some();
    faults.extend(wrong([(granted, ".claude/settings.json: grants something to everyone who opens the repository")]));
    faults
}

/// What `cargo run --locked --manifest-path PLUGIN/Cargo.toml` from another project rests on.
pub fn installed_elsewhere(root: &Path) -> Vec<String> {
    let unlocked = !root.join("Cargo.lock").is_file();
    let mut faults = wrong([(unlocked, "Cargo.lock: is missing, and `--locked` fails without it")]);
    for path in text::files_below(&root.join("xtask/src"), &[".rs"]) {
        let source = fs::read_to_string(&path).unwrap_or_default();
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        // In an installed plugin it names the plugin's cache, and an update removes what was written there.
        if program.contains("env!(\"CARGO_MANIFEST_DIR\")") {
            let place = path.strip_prefix(root).unwrap_or(&path).display();
            faults.push(format!("{place}: takes a directory from where the program was built"));
        }
    }
    faults
}
