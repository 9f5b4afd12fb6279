//! `machineclass-apply [name|--all]`: applies machine classes to Omni.
//!
//! 1. The files exist, and `machineclass-check` finds no error in them that is not allowed.
//! 2. Omni is asked what it has, and whether the provider ever registered: it refuses classes of one that did not. The
//!    schema that the provider registered has the last word on its data.
//! 3. What would change is shown, field by field.
//! 4. `omnictl apply`.
//! 5. Every class is read back and compared: omnictl drops keys that it does not know, and exits 0.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::MachineclassApply;
use crate::flow::apply::{self, Applied};
use crate::flow::{inputs, lookup};
use crate::outcome::Outcome;
use check::machine_class::Provider;
use domain::failure::{Code, Failure};
use domain::plan::{Action, CheckedFile, Plan, Step};
use domain::spec::machine_class::MachineClass;
use domain::status::omni::Resource;
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;
use runtime::ui::{Check, Done, Status};

const KIND: &str = "machineclasses";

/// The fields of a class that Omni keeps, flat, as text: `cores: 4` inside the provider's data is a field of its own.
type Fields = BTreeMap<String, String>;

pub fn run(args: &MachineclassApply, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let given: Vec<String> = args.name.iter().cloned().collect();
    let files = inputs::chosen(&given, args.all, &cx.paths.machine_classes(), "machine class", |name| {
        cx.paths.machine_class(name)
    })?;
    let files =
        if args.all { inputs::without_examples(cx, files, "machine class", "machineclass-apply")? } else { files };
    let files = inputs::class_files(cx, &files)?;
    apply_files(cx, &files, Plan::default(), &args.allow)
}

/// Applies files of machine classes, after what `plan` holds already: the plan is shown and agreed to as one.
///
/// # Errors
/// As the task.
pub fn apply_files(cx: &Cx, files: &[CheckedFile], mut plan: Plan, allow: &[&'static str]) -> anyhow::Result<Outcome> {
    let checked = inputs::machine_classes(cx, files, None);
    checked.sound_so_far(cx, allow)?;
    no_doubles(cx, checked.found())?;
    cx.writable(&[cx.paths.state()])?;
    if let Some(planned) = apply::omnictl_on_need(cx)? {
        return Ok(planned);
    }
    let omnictl = Omnictl::find(cx)?;
    let (there, providers) = observe(cx, &omnictl, checked.found(), allow)?;
    let classes = inputs::machine_classes(cx, files, Some(&providers)).sound(cx, allow)?;
    let (applies, changes) = plan_of(cx, &classes, files, &there);
    if !applies.is_empty() && !cx.dry_run {
        role::may_change(&omnictl, &[])?;
    }
    let question = question(&plan, &applies);
    let to_apply = !applies.is_empty();
    plan.steps.extend(applies.steps);
    let names: Vec<&str> = classes.iter().map(|(class, _)| class.id.as_str()).collect();
    let data = json!({ "machine_classes": names, "changes": changes, "allowed": allow });
    if let Applied::Planned(outcome) = apply::run(cx, &plan, &question)? {
        return Ok(outcome.and(data));
    }
    match to_apply {
        true => prove(cx, &omnictl, &classes)?,
        false => cx.ui.note("changes", "nothing to apply", Status::Skipped, "Omni has all of it already"),
    }
    remember(cx, &names)?;
    let summary = match names.as_slice() {
        [one] => format!("machine class `{one}` is in Omni as its file says"),
        many => format!("{} machine classes are in Omni as their files say", many.len()),
    };
    Ok(Outcome::done(summary).with(data).next("cargo xtask cluster-create"))
}

fn question(before: &Plan, applies: &Plan) -> String {
    let objects: Vec<&str> = before.steps.iter().map(|step| step.object.as_str()).collect();
    let apply = match applies.steps.as_slice() {
        [one] => format!("apply {} to Omni", one.object),
        many => format!("apply {} files of machine classes to Omni", many.len()),
    };
    match (objects.as_slice(), applies.is_empty()) {
        ([], _) => apply.replacen("apply", "Apply", 1),
        (files, true) => format!("Write {}", files.join(", ")),
        (files, false) => format!("Write {} and {apply}", files.join(", ")),
    }
}

/// Two files with one class would take turns.
fn no_doubles(cx: &Cx, classes: &[(MachineClass, PathBuf)]) -> Result<(), Failure> {
    for (at, (class, file)) in classes.iter().enumerate() {
        if let Some((_, other)) = classes[..at].iter().find(|(other, _)| other.id == class.id) {
            let (one, two) = (cx.paths.show(other), cx.paths.show(file));
            return Err(Failure::new(Code::Conflict, format!("the machine class `{}` is defined twice", class.id))
                .cause(if one == two { format!("in {one}") } else { format!("in {one} and in {two}") })
                .hint("keep one of them"));
        }
    }
    Ok(())
}

/// Step 2: two reads, however many classes there are.
fn observe(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    classes: &[(MachineClass, PathBuf)],
    allow: &[&'static str],
) -> anyhow::Result<(Vec<Resource>, Vec<Provider>)> {
    let checks = vec![
        Check::new("classes", "machine classes in Omni", || {
            let found = omnictl.list(KIND, None)?;
            let count = found.len();
            Ok(Done::ok(found, count.to_string()))
        }),
        Check::new("providers", "the provider has registered", || {
            let found = omnictl.list("infraproviderstatuses", None)?;
            let known: Vec<&str> = found.iter().map(|found| found.metadata.id.as_str()).collect();
            for (class, file) in classes {
                let Some(wanted) = class.auto_provision.as_ref().map(|auto| auto.provider_id.as_str()) else {
                    continue;
                };
                if !known.contains(&wanted) && !allow.contains(&"class-provider-unknown") {
                    return Err(unregistered(cx, class, file, wanted, &known).into());
                }
            }
            let detail = known.join(", ");
            Ok(Done::ok(found, detail))
        }),
    ];
    let mut results = cx.ui.side_by_side("asking Omni", checks).into_iter();
    let mut next = || results.next().unwrap_or_else(|| Ok(Vec::new()));
    let (classes, providers) = (next()?, next()?);
    Ok((classes, lookup::providers(&providers)))
}

fn unregistered(cx: &Cx, class: &MachineClass, file: &Path, wanted: &str, known: &[&str]) -> Failure {
    let cause = match known {
        [] => "no provider has ever registered".to_owned(),
        known => format!("registered are: {}", known.join(", ")),
    };
    let failure = Failure::new(
        Code::Failed,
        format!("machine class `{}` wants the provider `{wanted}`, which Omni does not know", class.id),
    );
    match domain::nearest::nearest(wanted, known.iter().copied()) {
        Some(near) => failure.cause(cause).hint(format!("write `providerid: {near}` in {}", cx.paths.show(file))),
        None => failure
            .cause(cause)
            .hint("Omni checks a class against its provider's schema, so the provider must have run once"),
    }
    .next("cargo xtask provider-setup")
}

/// Step 3.
fn plan_of(
    cx: &Cx,
    classes: &[(MachineClass, PathBuf)],
    files: &[CheckedFile],
    there: &[Resource],
) -> (Plan, Vec<Value>) {
    let mut plan = Plan::default();
    let mut changes = Vec::new();
    let mut applied: BTreeMap<&Path, usize> = BTreeMap::new();
    for (class, file) in classes {
        let old = there.iter().find(|resource| resource.metadata.id == class.id).map(fields_of_resource);
        let new = fields_of_class(class);
        let differences = differences(&old.clone().unwrap_or_default(), &new);
        if old.as_ref() == Some(&new) {
            continue;
        }
        changes.push(json!({ "machine_class": class.id, "fields": differences }));
        let words: Vec<String> = differences.iter().map(Difference::words).collect();
        for word in &words {
            cx.ui.say(&format!("  {}: {word}", class.id));
        }
        let (verb, effect, undo) = match old {
            None => {
                ("create", "machines can be made of it".to_owned(), format!("omnictl delete machineclass {}", class.id))
            }
            Some(_) => (
                "update",
                format!("{}; machines that exist stay as they are", words.join(", ")),
                "restore the file and apply it".to_owned(),
            ),
        };
        // A file may hold several classes; omnictl applies all of it.
        match applied.get(file.as_path()) {
            Some(at) => also(&mut plan.steps[*at], verb, &class.id, &effect),
            None => {
                let Some(file) = files.iter().find(|source| source.path == *file) else { continue };
                applied.insert(&file.path, plan.steps.len());
                let action = Action::ApplyClass { file: file.clone() };
                plan.push(verb, format!("machine class {}", class.id), effect, undo, action);
            }
        }
    }
    (plan, changes)
}

/// One more class of the file that `step` applies.
fn also(step: &mut Step, verb: &str, class: &str, effect: &str) {
    step.object.push_str(&format!(", {class}"));
    step.effect.push_str(&format!("; {verb} {class}: {effect}"));
}

/// Step 5.
fn prove(cx: &Cx, omnictl: &Omnictl<'_>, classes: &[(MachineClass, PathBuf)]) -> anyhow::Result<()> {
    cx.ui.step("proof", "Omni has them as the files say", || {
        let there = omnictl.list(KIND, None)?;
        for (class, file) in classes {
            let found = there.iter().find(|resource| resource.metadata.id == class.id).ok_or_else(|| {
                Failure::new(Code::Failed, format!("Omni took `{}` and does not show it", class.id))
                    .cause("a class outside the namespace `default` is taken without a word and never seen again")
                    .hint(format!("write `namespace: default` under metadata in {}", cx.paths.show(file)))
            })?;
            let left = differences(&fields_of_resource(found), &fields_of_class(class));
            if !left.is_empty() {
                let words: Vec<String> = left.iter().map(Difference::words).collect();
                return Err(Failure::new(
                    Code::Failed,
                    format!("Omni has the machine class `{}` otherwise than its file says", class.id),
                )
                .cause(words.join("\n"))
                .hint("omnictl drops keys that it does not know, without a word: check their spelling")
                .into());
            }
        }
        let count = classes.len();
        Ok(Done::ok((), format!("{count} {} compared", if count == 1 { "class" } else { "classes" })))
    })
}

/// One field that differs.
#[derive(Debug)]
struct Difference {
    field: String,
    before: Option<String>,
    after: Option<String>,
}

domain::written!(Difference { field, before, after });

impl Difference {
    fn words(&self) -> String {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("{} from {before} to {after}", self.field),
            (None, Some(after)) => format!("{} {after}", self.field),
            (Some(before), None) => format!("{} no longer {before}", self.field),
            (None, None) => self.field.clone(),
        }
    }
}

fn differences(old: &Fields, new: &Fields) -> Vec<Difference> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = |name: &&&String| old.get(**name) != new.get(**name);
    let of = |name: &String| Difference {
        field: name.clone(),
        before: old.get(name).cloned(),
        after: new.get(name).cloned(),
    };
    names.iter().filter(differs).map(|name| of(name)).collect()
}

fn fields_of_class(class: &MachineClass) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in &class.labels {
        fields.insert(format!("label {key}"), value.clone());
    }
    if !class.match_labels.is_empty() {
        fields.insert("matchlabels".into(), class.match_labels.join(" | "));
    }
    if let Some(auto) = &class.auto_provision {
        fields.insert("providerid".into(), auto.provider_id.clone());
        fields.insert("grpctunnel".into(), auto.grpc_tunnel.to_string());
        if !auto.kernel_args.is_empty() {
            fields.insert("kernelargs".into(), auto.kernel_args.join(" "));
        }
        for (key, value) in &auto.meta_values {
            fields.insert(format!("metavalue {key}"), value.clone());
        }
        provider_data(&mut fields, &auto.provider_data);
    }
    fields
}

fn fields_of_resource(resource: &Resource) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in resource.metadata.labels() {
        fields.insert(format!("label {key}"), value.as_str().unwrap_or_default().to_owned());
    }
    let texts = |value: &Value, sep: &str| {
        let items: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        items.join(sep)
    };
    let match_labels = texts(resource.at(&["matchlabels"]), " | ");
    if !match_labels.is_empty() {
        fields.insert("matchlabels".into(), match_labels);
    }
    if resource.at(&["autoprovision"]).is_object() {
        let auto = |key: &'static str| resource.at(&["autoprovision", key]);
        fields.insert("providerid".into(), auto("providerid").as_str().unwrap_or_default().to_owned());
        fields.insert("grpctunnel".into(), auto("grpctunnel").as_u64().unwrap_or_default().to_string());
        let kernel_args = texts(auto("kernelargs"), " ");
        if !kernel_args.is_empty() {
            fields.insert("kernelargs".into(), kernel_args);
        }
        for meta in auto("metavalues").as_array().into_iter().flatten() {
            let value = meta["value"].as_str().unwrap_or_default().to_owned();
            fields.insert(format!("metavalue {}", meta["key"]), value);
        }
        provider_data(&mut fields, auto("providerdata").as_str().unwrap_or_default());
    }
    fields
}

/// The provider's data is a string that holds YAML: its keys are what people compare.
fn provider_data(fields: &mut Fields, text: &str) {
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Mapping(map)) => {
            for (key, value) in &map {
                let value = serde_json::to_value(value).unwrap_or_default();
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                fields.insert(key.as_str().unwrap_or("?").to_owned(), shown);
            }
        }
        _ => drop(fields.insert("providerdata".into(), text.to_owned())),
    }
}

fn remember(cx: &Cx, names: &[&str]) -> anyhow::Result<()> {
    if cx.dry_run {
        return Ok(());
    }
    let mut state = cx.fresh_state()?;
    for name in names {
        state.add("machine_classes", name);
    }
    cx.save_state(state)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::recorded;
    use domain::spec::machine_class;

    #[test]
    fn a_class_read_back_is_the_class_applied() {
        let there = domain::status::omni::resources(&recorded("omnictl", "get-machineclasses-json").stdout).unwrap();
        let file =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/omnictl/input-machineclass.yaml"));
        let class = machine_class::parse("x", &file.unwrap()).into_ok().unwrap().remove(0);
        assert_eq!(fields_of_resource(&there[0]), fields_of_class(&class));
        let mut other = class;
        other.auto_provision.as_mut().unwrap().provider_data = "cores: 8\n".to_owned();
        let words: Vec<String> = differences(&fields_of_resource(&there[0]), &fields_of_class(&other))
            .iter()
            .map(Difference::words)
            .collect();
        assert_eq!(words[0], "cores from 4 to 8");
        assert_eq!(words[1], "disk_size no longer 40");
    }
}
