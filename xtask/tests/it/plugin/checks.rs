//! The checks: each takes the root of a plugin and returns what is wrong with it, one sentence a fault.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value as Json;

use super::text::{self, Page};

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
    for name in text::entries(&root.join(".claude-plugin")) {
        if !["plugin.json", "marketplace.json", "icon.png"].contains(&name.as_str()) {
            faults
                .push(format!(".claude-plugin/{name}: only the manifests belong here, Claude Code loads nothing else"));
        }
    }
    if root.join("CLAUDE.md").exists() {
        faults.push("CLAUDE.md: belongs in .claude/, in the root it fails the strict validation".into());
    }
    let plugin = json(root, ".claude-plugin/plugin.json", &mut faults);
    let known = ["name", "version", "description", "author", "repository", "license", "keywords"];
    for key in plugin.as_object().into_iter().flat_map(|object| object.keys()) {
        if !known.contains(&key.as_str()) {
            faults.push(format!(
                "plugin.json: the key `{key}` is not ours, and one that names a folder replaces its default"
            ));
        }
    }
    if plugin["name"] != "omni-scale" {
        faults.push("plugin.json: `name` is not `omni-scale`".into());
    }
    // A string is an error for the validator, and 2.1.197 refuses to load it.
    if plugin["author"] != serde_json::json!({"name": "basher83"}) {
        faults.push("plugin.json: `author` is not the object with the name `basher83`".into());
    }
    if plugin["description"] != "Omni + Proxmox infrastructure provider management for Talos clusters" {
        faults.push("plugin.json: `description` is not the settled one".into());
    }
    for key in ["repository", "license"] {
        if plugin[key].as_str().is_none_or(str::is_empty) {
            faults.push(format!("plugin.json: `{key}` is missing"));
        }
    }
    let market = json(root, ".claude-plugin/marketplace.json", &mut faults);
    let entry = &market["plugins"][0];
    if entry["name"] != plugin["name"] || entry["source"] != "./" {
        faults.push("marketplace.json: its first plugin is not `omni-scale` from `./`".into());
    }
    if entry["description"] != plugin["description"] {
        faults.push("marketplace.json: the description is another than plugin.json's".into());
    }
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
    let mut faults = Vec::new();
    let files = text::entries(&root.join("agents"));
    if !files.iter().any(|file| file == "cluster-guide.md") {
        faults.push("agents/cluster-guide.md: is missing".into());
    }
    for file in files {
        let page = match Page::read(&root.join("agents").join(&file)) {
            Ok(page) => page,
            Err(error) => {
                faults.push(format!("agents/{file}: {error}"));
                continue;
            }
        };
        let mut fault = |text: String| faults.push(format!("agents/{file}: {text}"));
        // `hooks`, `mcpServers` and `permissionMode` are ignored in a plugin's agents.
        for key in page.unknown_keys(&["name", "description", "model", "color", "tools", "maxTurns", "skills"]) {
            fault(format!("the front-matter key `{key}` is not ours"));
        }
        if page.string("name") != file.strip_suffix(".md") {
            fault("its name is not that of its file".into());
        }
        let description = page.string("description").unwrap_or_default();
        let examples = description.matches("<example>").count();
        if !description.starts_with("Use this agent when") || !(2..=4).contains(&examples) {
            fault("its description must begin with `Use this agent when` and hold 2 to 4 examples".into());
        }
        // It plans. Questions are not possible in an agent: they belong in its answer.
        let tools = page.string("tools").unwrap_or("all of them");
        for tool in tools.split(", ").filter(|tool| !["Bash", "Read", "Grep", "Glob"].contains(tool)) {
            fault(format!("the tool `{tool}` is none that only looks"));
        }
        if !["blue", "cyan", "green", "yellow", "red"].contains(&page.string("color").unwrap_or_default()) {
            fault("its color is unknown".into());
        }
        for skill in page.list("skills").unwrap_or_default() {
            if !root.join("skills").join(skill).is_dir() {
                fault(format!("the skill `{skill}` does not exist"));
            }
        }
        for part in ["You change nothing", "**Plan**", "**Open questions**", "never with `--yes`"] {
            if !page.body.contains(part) && !page.body.contains(&part.replacen("You", "you", 1)) {
                fault(format!("does not say `{part}`"));
            }
        }
    }
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
        if event != "SessionStart" {
            faults.push(format!("hooks/hooks.json: `{event}` is no event that this plugin uses"));
        }
        for hook in matchers.as_array().into_iter().flatten().flat_map(|matcher| matcher["hooks"].as_array()).flatten()
        {
            if hook["type"] != "command" || hook["command"] != "sh" {
                faults.push("hooks/hooks.json: a hook is not a command that `sh` runs".into());
            }
            // The default is ten minutes.
            if hook["timeout"].as_u64().is_none_or(|seconds| seconds > 10) {
                faults.push("hooks/hooks.json: a hook's `timeout` is not within 10 seconds".into());
            }
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
    let mut faults = Vec::new();
    let mode = fs::metadata(&path).map_or(0, |data| data.permissions().mode());
    if mode & 0o111 != 0o111 {
        faults.push(format!("{script}: the run bit is not set"));
    }
    if !text.starts_with("#!/bin/sh\n") {
        faults.push(format!("{script}: is not a script for `#!/bin/sh`"));
    }
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
    for rule in
        ["Read(**/.env)", "Read(**/docker/config.yaml)", "Read(**/*.asc)", "Read(**/target/lab/env)", "Edit(**/.env)"]
    {
        if !denied.contains(&rule) {
            faults.push(format!(".claude/settings.json: does not deny `{rule}`"));
        }
    }
    if settings["permissions"].get("allow").is_some() {
        faults.push(".claude/settings.json: grants something to everyone who opens the repository".into());
    }
    faults
}

/// What `cargo run --locked --manifest-path PLUGIN/Cargo.toml` from another project rests on.
pub fn installed_elsewhere(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    if !root.join("Cargo.lock").is_file() {
        faults.push("Cargo.lock: is missing, and `--locked` fails without it".into());
    }
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
