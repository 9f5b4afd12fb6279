//! Compares the schemas for editors with those of the code: `UPDATE_EXPECT=1 cargo test -p check --test it editors` writes them.

use std::path::Path;

use check::editors::{cluster_template, machine_class, site};
use check::schema::validate;
use yaml::load;

use super::assert_file;

fn assert_schemas(name: &str, schema: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(name);
    assert_file(&path, &format!("{}\n", serde_json::to_string_pretty(schema).expect("JSON")));
}

#[test]
fn editors_get_the_schemas_of_the_code() {
    assert_schemas("machine-class.schema.json", &machine_class());
    assert_schemas("cluster-template.schema.json", &cluster_template());
    assert_schemas("site.schema.json", &site());
}

/// The shipped files name an existing schema and match it, as far as the interpreter goes.
#[test]
fn editors_find_the_schema_named_in_the_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (folder, schema) in [("machine-classes", machine_class()), ("clusters", cluster_template())] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("text");
            let named = text.lines().next().and_then(|l| l.strip_prefix("# yaml-language-server: $schema="));
            let named = named.unwrap_or_else(|| panic!("{} names no schema", path.display()));
            assert!(root.join(folder).join(named).is_file(), "{named}");
            for document in &load("a", text.as_bytes()).documents {
                let kind = document.root.get("kind").and_then(|k| k.text().map(str::to_owned));
                // Editors evaluate `if`; here the branch is picked directly.
                let branch = schema["allOf"].as_array().and_then(|all| {
                    all.iter()
                        .find(|b| b["if"]["properties"]["kind"]["const"].as_str() == kind.as_deref())
                        .map(|b| &b["then"])
                });
                let found = validate(branch.unwrap_or(&schema), &document.root);
                let wrong: Vec<_> = found.iter().filter(|m| !m.message.contains("does not interpret")).collect();
                assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
            }
        }
    }
}
