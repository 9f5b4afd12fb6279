//! `docker inspect` of a container and `docker volume inspect`, in the formats that the tasks request (docker 28.2.2 on an
//! engine 20.10.24, recorded).

use serde_json::{Value, json};

use super::ask_engine;
use super::compose::Mount;
use super::engine::{ContainerInfo, EngineRequest};
use super::store::find;
use crate::tools::failure::ToolError;
use crate::tools::out;
use crate::tools::protocol::Client;

/// The only supported format for a single container.
pub const FORMAT: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}}}"#;

/// The only supported format for the list of all containers.
pub const LISTED: &str = r#"{{.Names}}	{{.Image}}	{{.State}}	{{.Label "com.docker.compose.project"}}"#;

/// `ps --all --no-trunc --format LISTED`, and `volume ls --format {{.Name}}`
pub fn names(client: &mut Client, request: EngineRequest) -> Result<(), ToolError> {
    let lines: Vec<String> = ask_engine(client, request)?;
    lines.iter().for_each(|line| out(&format!("{line}\n")));
    Ok(())
}

/// Prints the empty line on stdout that precedes the error on stderr if an object does not exist.
fn missing(why: ToolError) -> ToolError {
    out("\n");
    why
}

/// `inspect --type container --format FORMAT NAME`
pub fn container(client: &mut Client, name: &str) -> Result<(), ToolError> {
    let (project, shown) = find(client, name).map_err(missing)?;
    // The first word of an entrypoint is the path of the program, which is not an argument.
    let skipped = usize::from(shown.service.entrypoint);
    let args: Vec<&String> = shown.service.argv.iter().skip(skipped).collect();
    out(&format!("{{\"mounts\":{},\"args\":{}}}\n", mounts(&project, &shown), json!(args)));
    Ok(())
}

/// `stop NAME`
pub fn stop(client: &mut Client, name: &str) -> Result<(), ToolError> {
    let (project, shown) = find(client, name)?;
    ask_engine::<()>(client, EngineRequest::Stop((project, shown.service.name)))?;
    out(&format!("{name}\n"));
    Ok(())
}

/// `volume inspect --format {{.Name}} NAME`
pub fn volume(client: &mut Client, name: &str) -> Result<(), ToolError> {
    let known: Vec<String> = ask_engine(client, EngineRequest::Volumes)?;
    if !known.iter().any(|known| known == name) {
        return Err(missing(ToolError::of_daemon(format!("get {name}: no such volume"))));
    }
    out(&format!("{name}\n"));
    Ok(())
}

fn mounts(project: &str, shown: &ContainerInfo) -> Value {
    let one = |Mount { source, volume, target, read_only, strict }: &Mount| {
        let mode = if *read_only { "ro" } else { "rw" };
        if !volume {
            // If the engine is to create the directory, compose uses the short form, which has a mode (docker compose 5.5.1, run).
            return json!({
                "Type": "bind", "Source": source, "Destination": target, "Mode": if *strict { "" } else { mode },
                "RW": !read_only, "Propagation": "rprivate",
            });
        }
        let name = format!("{project}_{source}");
        json!({
            "Type": "volume", "Name": name, "Source": format!("/var/lib/docker/volumes/{name}/_data"),
            "Destination": target, "Driver": "local", "Mode": mode, "RW": !read_only, "Propagation": "",
        })
    };
    shown.service.mounts.iter().map(one).collect()
}
