//! The keys that open Omni's store: adds a recovery key, and replaces the key that Omni starts with.
//!
//! The store has a slot for each key. When Omni starts, it adds a slot for every public key in its settings that has none.
//! Nothing else adds a slot, and nothing removes one (the same code in omni v1.4.9, v1.5.11, v1.6.5, v1.7.3, v1.8.2, v1.9.3 and
//! v1.10.4, `internal/backend/runtime/keyprovider/storage.go`).

use std::path::PathBuf;

use crate::flow::backup::{self, Source};
use crate::flow::omni_stack::{self, OmniAddress};
use crate::flow::{project_files, site};
use crate::prelude::*;
use domain::saved_plan::hash;
use domain::secret::Secret;
use domain::status::snapshot::Store;
use runtime::files::{self, Scratch};
use runtime::tool::gpg;

/// Reads a public key only when it is written, as this same run may create it.
type Armored = Box<dyn FnOnce(&Cx) -> Result<String, Failure>>;

/// Path of the next key until Omni runs with it.
fn next_key(cx: &Cx) -> PathBuf {
    cx.paths.store_key().with_file_name("omni-next.asc")
}

/// Reads Omni's store as it is now.
///
/// # Errors
/// See [`Source::find`] and [`backup::save_etcd`].
pub fn read_store(cx: &Cx) -> Result<Store, Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "store")?;
    backup::save_etcd(cx, &Source::find(cx, None)?, scratch.path())
}

/// Adds the public key in `file`. Its private half, which is kept elsewhere, then also opens the store.
///
/// # Errors
/// Fails with [`Code::Invalid`] if Omni could not use the key, or as in [`read_store`].
pub fn plan_recovery(cx: &Cx, file: &std::path::Path) -> anyhow::Result<Plan<'static>> {
    let bytes = cx.read(file, "specify the public key of a pair that you created on another machine")?;
    let armored = String::from_utf8_lossy(&bytes).into_owned();
    let slot = cx.ui.step("key", "Check the recovery key", || {
        let slot = gpg::slot_of_public_key(cx, &armored)?;
        Ok(StepResult::ok(slot.clone(), slot))
    })?;
    let mut plan = Plan::default();
    let print = slot.rsplit('<').next().unwrap_or_default().trim_end_matches('>').to_owned();
    let name = format!("omni-key-{}.asc", print.get(..16).unwrap_or(&print));
    let begun = cx.paths.site_files().join(&name).is_file();
    if !read_slots(cx, begun)?.is_some_and(|store| has_slot(&store, &slot)) {
        publish_key(cx, &mut plan, name, Box::new(move |_| Ok(armored)))?;
        plan.push(restart(cx, "Omni adds the key's slot to its store"));
    }
    plan.verify(move |cx| {
        let store = wait_for_store(cx)?;
        match has_slot(&store, &slot) {
            true => Ok(()),
            false => Err(no_slot(&slot).into()),
        }
    });
    Ok(plan)
}

/// Replaces the key that Omni starts with by the one in `given`, or by a new one.
///
/// # Errors
/// Fails with [`Code::Invalid`] if Omni could not use the key, or as in [`read_store`].
pub fn plan_rotation(cx: &Cx, given: Option<PathBuf>) -> anyhow::Result<Plan<'static>> {
    let (key, next) = (cx.paths.store_key(), next_key(cx));
    let [now, made] = [&key, &next].map(|path| files::read_optional_text(path));
    let (now, made) = (now?, made?.map(Secret::new));
    let switched = made.as_ref().is_some_and(|made| now.as_deref() == Some(made.expose()));
    let store = read_slots(cx, made.is_some())?;
    let given = match given.filter(|_| made.is_none()) {
        None => None,
        Some(file) => Some(cx.ui.step("key", "Check the next key", || {
            let key = read_key(cx, file)?;
            gpg::check_store_key(cx, &key)?;
            let slot = gpg::slot_of_public_key(cx, &gpg::public_key(cx, &key)?)?;
            Ok(StepResult::ok(key, slot))
        })?),
    };
    let mut plan = Plan::default();
    if given.as_ref().is_some_and(|given| now.as_deref() == Some(given.expose())) {
        return Ok(plan);
    }
    if made.is_none() {
        let user = cx.settings.env_file.get("OMNI_INITIAL_USER").unwrap_or_default().to_owned();
        let effect = "the next key of Omni's store, for this user only";
        let shown = cx.paths.show(&next);
        plan.push(Change::new("create", shown, effect, "remove the file", move |cx| {
            let key = match given {
                Some(key) => key,
                None => gpg::create_store_key(cx, &user)?,
            };
            files::write_new(&next_key(cx), key.expose().as_bytes(), files::PRIVATE)?;
            Ok("it decrypts without a passphrase".to_owned())
        }));
    }
    if !switched {
        let opens = match (&store, &made) {
            (Some(store), Some(made)) => gpg::find_opened_slot(cx, made, &store.slots).is_ok(),
            _ => false,
        };
        if !opens {
            let armored = Box::new(|cx: &Cx| gpg::public_key(cx, &read_key(cx, next_key(cx))?));
            publish_key(cx, &mut plan, "omni-next.asc".to_owned(), armored)?;
            plan.push(restart(cx, "Omni adds the next key's slot to its store"));
        }
        plan.push(switch_key(cx));
    }
    plan.push(restart(cx, "Omni starts with the next key"));
    let effect = "it is docker/omni.asc now";
    let done = Change::new("remove", cx.paths.show(&next), effect, "it is docker/omni.asc", |cx| {
        check_key(cx, cx.paths.store_key())?;
        let next = next_key(cx);
        std::fs::remove_file(&next).map_err(|error| backup::io_failure("remove", &next, &error))?;
        Ok("removed".to_owned())
    });
    plan.push(done);
    Ok(plan)
}

/// Reads the slots of the running Omni; `None` if an interrupted run left it stopped.
fn read_slots(cx: &Cx, begun: bool) -> anyhow::Result<Option<Store>> {
    cx.ui.step("slots", "Read the key slots of Omni's store", || match read_store(cx) {
        Err(failure) if begun && failure.code == Code::Prerequisite => Ok(StepResult::skipped(None, failure.message)),
        store => {
            let store = store?;
            let names = slot_names(&store);
            Ok(StepResult::ok(Some(store), names))
        }
    })
}

fn slot_names(store: &Store) -> String {
    store.slots.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn has_slot(store: &Store, slot: &str) -> bool {
    let print = slot.rsplit(' ').next().unwrap_or_default();
    store.slots.keys().any(|name| name.to_ascii_lowercase().ends_with(print))
}

fn no_slot(key: &str) -> Failure {
    Failure::new(Code::Failed, format!("Omni's store has no slot for {key}"))
        .cause("Omni was started with its public key, but did not add it")
        .hint("nothing was switched: Omni runs with docker/omni.asc as before")
        .next("cargo xtask stack-logs omni")
}

fn read_key(cx: &Cx, path: PathBuf) -> Result<Secret, Failure> {
    Ok(Secret::new(String::from_utf8_lossy(&cx.read(&path, "restore it")?)))
}

/// Adds the changes that make Omni read a public key when it next starts.
fn publish_key(cx: &Cx, plan: &mut Plan<'static>, name: String, armored: Armored) -> Result<(), Failure> {
    let (file, settings) = (cx.paths.site_files().join(&name), site::path(cx).unwrap_or_else(|| cx.paths.site()));
    let (shown, inside) = (cx.paths.show(&settings), format!("{}{name}", check::site::FILES));
    plan.push(Change::new("create", cx.paths.show(&file), "the public half", "remove the file", move |cx| {
        let armored = armored(cx)?;
        let dir = cx.paths.site_files();
        std::fs::create_dir_all(&dir).map_err(|error| backup::io_failure("create", &dir, &error))?;
        files::write_atomically(&file, armored.as_bytes(), files::SHARED)?;
        Ok("written".to_owned())
    }));
    let text = site::read(cx)?.unwrap_or_default();
    if !check::site::has_public_key(&text, &inside) {
        let new = check::site::with_public_key(&text, &inside).ok_or_else(|| {
            Failure::new(Code::Prerequisite, format!("the key cannot be added to `{shown}` without rewriting it"))
                .cause("it uses anchors, several documents, or mappings in braces")
                .hint(format!("add {inside} to storage.default.etcd.publicKeyFiles yourself, then run this again"))
        })?;
        if let Some(found) = site::first_error(cx, &new)? {
            let failure = Failure::new(Code::Prerequisite, "this Omni cannot be given an additional key");
            return Err(failure.cause(found.message).hint(found.fix).next("cargo xtask upgrade-plan --omni"));
        }
        let contents = (Secret::plain(new), files::PRIVATE);
        let (effect, undo) = (format!("`publicKeyFiles` lists {inside}"), "remove the line after the next start");
        plan.push(project_files::write("update", (settings, shown), contents, effect, undo));
    }
    site::name_file(cx).into_iter().for_each(|change| plan.push(change));
    Ok(())
}

fn restart<'a>(cx: &Cx, effect: &str) -> Change<'a> {
    omni_stack::start(omni_stack::provider_ready(cx).is_ok(), true, format!("{effect}; it is down for about a minute"))
}

/// Waits until Omni responds, and reads its store.
fn wait_for_store(cx: &Cx) -> anyhow::Result<Store> {
    omni_stack::verify(cx, omni_stack::provider_ready(cx).is_ok(), OmniAddress::of(cx).as_ref())?;
    Ok(read_store(cx)?)
}

/// Checks that the key at `path` opens the store of the running Omni.
fn check_key(cx: &Cx, path: PathBuf) -> anyhow::Result<()> {
    let (store, key) = (wait_for_store(cx)?, read_key(cx, path)?);
    let slot = gpg::find_opened_slot(cx, &key, &store.slots)
        .map_err(|failure| no_slot("the next key").cause(failure.cause))?;
    backup::check_account(&store, cx.settings.env_file.get("OMNI_ACCOUNT_UUID").unwrap_or_default())?;
    cx.ui.note("opened", "The key opens the store", runtime::ui::Status::Ok, slot);
    Ok(())
}

/// Replaces the old key with the next one, once that has opened the store. The old key is kept.
fn switch_key<'a>(cx: &Cx) -> Change<'a> {
    let key = cx.paths.store_key();
    let undo = "copy docker/omni-old-….asc back, and `cargo xtask stack-up --recreate`";
    let effect = "the next key, once it has opened the store; the old one is kept next to it";
    Change::new("replace", cx.paths.show(&key), effect, undo, |cx| {
        let (key, old) = (cx.paths.store_key(), read_key(cx, cx.paths.store_key())?);
        let sum = hash(old.expose().as_bytes());
        let kept = key.with_file_name(format!("omni-old-{}.asc", sum.get(7..15).unwrap_or_default()));
        if files::read_optional_text(&kept)?.as_deref() != Some(old.expose()) {
            files::write_new(&kept, old.expose().as_bytes(), files::PRIVATE)?;
        }
        files::write_atomically(&key, read_key(cx, next_key(cx))?.expose().as_bytes(), files::PRIVATE)?;
        Ok(format!("the old key is {}", cx.paths.show(&kept)))
    })
    .with_precondition(|cx| check_key(cx, next_key(cx)))
}
