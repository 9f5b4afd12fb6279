//! The one document that `--json` prints.

use serde_json::{Value, json};

use super::Step;
use domain::failure::Failure;

/// The document of a task. `ok` is true at exit 0 and 3; `error` is null when the task succeeded.
pub fn document(
    task: &str,
    ok: bool,
    summary: &str,
    steps: &[Step],
    data: Value,
    next: &[String],
    failure: Option<&Failure>,
) -> Value {
    let error = failure.map(|failure| {
        json!({
            "code": failure.code,
            "message": failure.message,
            "cause": failure.cause,
            "hint": failure.hint,
            "missing": failure.missing,
        })
    });
    let mut document = json!({
        "schema_version": 1,
        "task": task,
        "ok": ok,
        "summary": summary,
        "steps": steps,
        "data": {},
        "next": next,
        "error": error,
    });
    // Of thousands of files: moved, not copied.
    if !data.is_null() {
        document["data"] = data;
    }
    document
}
