//! The real binary in a sandbox with the lab: exact output, exit status, and the files it leaves behind.

// Tests play the operator and the external programs, so they start processes and write files freely.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod access;
mod action;
mod advice;
mod at_once;
mod backup;
mod bad_input;
mod ci;
mod consent;
mod contract;
mod docs;
mod explained;
mod external_programs;
mod faults;
mod fuzz;
mod guides;
mod injected;
mod input;
mod interrupted;
mod keys;
mod killed;
mod lab;
mod omni_stack_in_lab;
mod omni_upgrade;
mod operation;
mod own_files;
#[path = "../planted.rs"]
mod planted;
mod plugin;
mod robust;
mod runbook;
mod sandbox;
mod saved_plans;
mod secrets;
mod site;
mod store_keys;
mod support_bundle;
mod terminal;
mod tidy;
mod transcripts;
mod traps;
mod unwritable;
mod upgrade_plan;
