//! Steps that several tasks share: inputs, the Omni stack, the provider, Proxmox, clusters, and [`change`], the one model of a
//! change. Nothing here names a task.

pub mod audit;
pub mod change;
pub mod check_report;
pub mod cluster;
pub mod cluster_destroyed;
pub mod cluster_offer;
pub mod cluster_sync;
pub mod cluster_tree;
pub mod diagnose;
pub mod doctor;
pub mod impact;
pub mod inputs;
pub mod licence;
pub mod lookup;
pub mod machine_class;
pub mod new_class;
pub mod obstacle;
pub mod omni_checks;
pub mod omni_inputs;
pub mod omni_stack;
pub mod placement_tables;
pub mod project_classes;
pub mod project_files;
pub mod provider;
pub mod provider_inputs;
pub mod proxmox;
pub mod rehearsal;
pub mod selector_results;
pub mod service_account;
pub mod stage;
pub mod storages;
pub mod tsidp;
pub mod upgrade;
