//! Faults of the Talos image and its versions.

use super::fault_case::says;

const TEMPLATE: &[&str] = &["clusters/rehearsal.yaml"];

fault_cases! {
    image_factory_unreachable "image-factory-unreachable": says(&["failed to create schematic", "lookup factory.talos.dev"])
        .hints(&["image-factory-unreachable", "The provider's host must reach https://factory.talos.dev"])
        .changes(TEMPLATE);
    image_download_failed "image-download-failed": says(&["the task download", "on pve", "unable to resolve host address 'factory.talos.dev'"])
        .hints(&["image-download-failed", "The node downloads the image itself"])
        .changes(TEMPLATE);
    image_storage_full "image-storage-full": says(&["the task download", "No space left on device"])
        .hints(&["image-storage-full", "Delete old images"])
        .changes(TEMPLATE);
    image_slow "image-slow": says(&["timed out after 4 s", "uploadISO"]).hints(&["nothing has changed for most of this time|it was still changing", "cluster-status rehearsal"])
        .changes(TEMPLATE);
    omni_no_talos_versions "omni-no-talos-versions": says(&["Omni offers no Talos versions", "has not reached its image factory"])
        .hints(&["whether Omni's machine can reach the internet"]);
    talos_not_offered "talos-not-offered": says(&["Omni offers no Talos 1.13.5", "1.13.4"]).hints(&["--talos-version"]);
}
