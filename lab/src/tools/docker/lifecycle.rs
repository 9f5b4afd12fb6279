//! `docker compose up` and `down`: the order of operations and their output (docker compose 5.5.1, recorded).

use std::collections::{BTreeMap, BTreeSet};

use super::compose::{Project, Service};
use serde::de::DeserializeOwned;

use super::engine::{ContainerInfo, ContainerKey, EngineRequest};
use super::{Compose, ask_engine};
use crate::tools::err;
use crate::tools::failure::ToolError;

fn print_step(what: &str, name: &str, verb: &str) {
    err(&format!(" {what} {name} {verb} \n"));
}

/// Groups the services by dependency: each level depends only on those before it.
fn levels(project: &Project) -> Vec<Vec<&Service>> {
    let mut left: Vec<&Service> = project.services.values().collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut out = Vec::new();
    while !left.is_empty() {
        let ready = |service: &&Service| {
            let needs = service.depends_on.keys().chain(service.network_of.as_ref());
            needs.into_iter().all(|name| done.contains(name.as_str()) || !project.services.contains_key(name))
        };
        let (now, later): (Vec<&Service>, Vec<&Service>) = left.iter().copied().partition(|service| ready(service));
        if now.is_empty() {
            // A dependency cycle, which compose rejects.
            break;
        }
        done.extend(now.iter().map(|service| service.name.as_str()));
        out.push(now);
        left = later;
    }
    out
}

impl Compose {
    fn ask_about<T: DeserializeOwned>(
        &mut self,
        project: &Project,
        service: &str,
        make: fn(ContainerKey) -> EngineRequest,
    ) -> Result<T, ToolError> {
        ask_engine(&mut self.client, make((project.name.clone(), service.to_owned())))
    }

    /// The containers of a project by service name.
    fn containers_by_service(&mut self, project: &Project) -> Result<BTreeMap<String, ContainerInfo>, ToolError> {
        Ok(self.containers(project)?.into_iter().map(|shown| (shown.service.name.clone(), shown)).collect())
    }

    pub(super) fn up(&mut self, project: &Project, args: &[&str]) -> Result<(), ToolError> {
        // Dependencies of a named service are not started: the tasks only name one when these already run as configured.
        let (service, args) = match args {
            [flags @ .., service] if !service.starts_with('-') => (Some(*service), flags),
            flags => (None, flags),
        };
        let only = service.map(|service| {
            let mut only = project.clone();
            only.services.retain(|name, _| name == service);
            only
        });
        let project = only.as_ref().unwrap_or(project);
        let (start, force) = match args {
            ["-d"] => (true, false),
            ["-d", "--force-recreate"] => (true, true),
            ["--no-start"] => (false, false),
            ["-d", "--dry-run"] => return self.print_dry_run(project),
            _ => return Err(ToolError::Unknown),
        };
        self.create_resources(project)?;
        let before = self.containers_by_service(project)?;
        let levels = levels(project);
        let mut fresh: BTreeSet<String> = BTreeSet::new();
        for level in &levels {
            self.create_level(project, level, &before, force, &mut fresh)?;
        }
        for level in levels.iter().filter(|_| start) {
            self.start_level(project, level, &before, &fresh)?;
        }
        Ok(())
    }

    /// Prints what `up -d` would do. A container that runs as configured is left alone.
    fn print_dry_run(&mut self, project: &Project) -> Result<(), ToolError> {
        let before = self.containers_by_service(project)?;
        for service in project.services.values() {
            let verbs: &[&str] = match before.get(&service.name) {
                None => &["Creating", "Created", "Starting", "Started"],
                Some(old) if old.service.hash != service.hash => &["Recreate", "Recreated", "Starting", "Started"],
                Some(old) if old.state == "running" => &["Running"],
                Some(_) => &["Starting", "Started"],
            };
            verbs.iter().for_each(|verb| print_step("Container", &service.container, verb));
        }
        Ok(())
    }

    /// Creates volumes and the network. The recorded program prints every line twice.
    fn create_resources(&mut self, project: &Project) -> Result<(), ToolError> {
        let mounted = project.services.values().flat_map(|service| service.mounts(true));
        let used: BTreeSet<&String> = mounted.map(|volume| &volume.source).collect();
        let volumes = project.volumes.iter().filter(|name| used.contains(name));
        let mut made: Vec<(&str, String)> = Vec::new();
        for (kind, name) in volumes
            .map(|name| ("Volume", format!("{}_{name}", project.name)))
            .chain([("Network", format!("{}_default", project.name))])
        {
            if ask_engine(&mut self.client, EngineRequest::Make(format!("{kind} {name}")))? {
                made.push((kind, name));
            }
        }
        for verb in ["Creating", "Created"] {
            for (kind, name) in &made {
                print_step(kind, name, verb);
                print_step(kind, name, verb);
            }
        }
        Ok(())
    }

    fn create_level(
        &mut self,
        project: &Project,
        level: &[&Service],
        before: &BTreeMap<String, ContainerInfo>,
        force: bool,
        fresh: &mut BTreeSet<String>,
    ) -> Result<(), ToolError> {
        let mut done: Vec<(&Service, &str)> = Vec::new();
        for service in level {
            let old = before.get(&service.name);
            // If the owner of a container's network is recreated, the container must be too.
            let follows = service.network_of.as_ref().is_some_and(|name| fresh.contains(name));
            let (begin, end) = match old {
                None => ("Creating", "Created"),
                Some(old) if force || follows || old.service.hash != service.hash => ("Recreate", "Recreated"),
                Some(old) => {
                    if old.state == "running" {
                        print_step("Container", &service.container, "Running");
                    }
                    continue;
                }
            };
            print_step("Container", &service.container, begin);
            let file = project.file.display().to_string();
            let ask = EngineRequest::Create(project.name.clone(), Box::new((*service).clone()), file);
            ask_engine::<()>(&mut self.client, ask).inspect_err(|why| {
                if let ToolError::Message(text) = why {
                    err(&format!(" service:{}:1 {text} \n", service.name));
                }
            })?;
            fresh.insert(service.name.clone());
            done.push((service, end));
        }
        // Recreated containers finish in reverse order.
        if done.iter().any(|(_, end)| *end == "Recreated") {
            done.reverse();
        }
        for (service, end) in done {
            print_step("Container", &service.container, end);
        }
        Ok(())
    }

    fn start_level(
        &mut self,
        project: &Project,
        level: &[&Service],
        before: &BTreeMap<String, ContainerInfo>,
        fresh: &BTreeSet<String>,
    ) -> Result<(), ToolError> {
        let stopped = |service: &&Service| {
            fresh.contains(&service.name) || before.get(&service.name).is_none_or(|old| old.state != "running")
        };
        let to_start: Vec<&Service> = level.iter().copied().rev().filter(stopped).collect();
        let needs = |service: &Service| -> Vec<&Service> {
            let healthy = service.depends_on.iter().filter(|(_, condition)| *condition == "service_healthy");
            healthy.filter_map(|(name, _)| project.services.get(name)).collect()
        };
        for other in to_start.iter().flat_map(|service| needs(service)) {
            print_step("Container", &other.container, "Waiting");
        }
        for service in &to_start {
            for other in needs(service) {
                if !self.ask_about::<bool>(project, &other.name, EngineRequest::Healthy)? {
                    print_step("Container", &other.container, "Error");
                    let text = format!("dependency failed to start: container {} is unhealthy", other.container);
                    return Err(ToolError::Message(text));
                }
                print_step("Container", &other.container, "Healthy");
            }
            print_step("Container", &service.container, "Starting");
            self.ask_about::<()>(project, &service.name, EngineRequest::Start)?;
        }
        for service in &to_start {
            print_step("Container", &service.container, "Started");
        }
        Ok(())
    }

    pub(super) fn down(&mut self, project: &Project) -> Result<(), ToolError> {
        let found = self.containers_by_service(project)?;
        for level in levels(project).into_iter().rev() {
            let there = level.into_iter().rev().filter(|service| found.contains_key(&service.name));
            let there: Vec<&Service> = there.collect();
            for service in &there {
                print_step("Container", &service.container, "Stopping");
            }
            for service in there {
                self.ask_about::<()>(project, &service.name, EngineRequest::Stop)?;
                for verb in ["Stopped", "Removing"] {
                    print_step("Container", &service.container, verb);
                }
                self.ask_about::<()>(project, &service.name, EngineRequest::Remove)?;
                print_step("Container", &service.container, "Removed");
            }
        }
        let left = self.containers(project)?;
        let network = format!("{}_default", project.name);
        if left.iter().any(|shown| shown.service.network_of.is_none()) {
            print_step("Network", &network, "Resource is still in use");
        } else if ask_engine(&mut self.client, EngineRequest::Unmake(format!("Network {network}")))? {
            print_step("Network", &network, "Removing");
            print_step("Network", &network, "Removed");
        }
        Ok(())
    }
}
