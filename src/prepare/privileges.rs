//! Detects missing privileges before the start does anything: changes of owner that need root.

use std::os::unix::fs::MetadataExt;

use nix::unistd::{getegid, geteuid, getgroups};

use crate::plan::file::{FilePlan, Owner};
use crate::plan::{OnFailure, Plan, StepAction, StepPlan};

/// The number of CAP_CHOWN (capabilities(7)).
const CHOWN: u32 = 0;

/// One sentence for each file of the plan that needs missing privileges; not for files whose failure does not end the start, or whose
/// condition does not hold now.
pub fn obstacles(plan: &Plan) -> Vec<String> {
    let counts = |step: &&StepPlan| step.on_failure == OnFailure::Stop && step.condition.holds(&mut |_| false);
    let file = |step: &StepPlan| if let StepAction::File(file) = &step.action { obstacle(file) } else { None };
    plan.steps.iter().filter(counts).filter_map(file).collect()
}

/// Why this file cannot get its owner, in one sentence; none if it can, or already has it. It reads the file system.
fn obstacle(file: &FilePlan) -> Option<String> {
    let owner = file.owner.filter(|_| !may_chown())?;
    let is_ours = owner.uid.is_none_or(|uid| uid == geteuid().as_raw()) && owner.gid.is_none_or(is_our_group);
    if is_ours || has(file, owner) {
        return None;
    }
    let who = if geteuid().is_root() {
        "portcullis runs without the capability CHOWN".to_owned()
    } else {
        format!("portcullis runs as user {}", geteuid())
    };
    Some(format!(
        "changing the owner of {} to {owner} needs root, and {who}; start the container as root, or add `when = {{ root = true }}`",
        file.path.display()
    ))
}

/// Whether the existing file already has this owner.
fn has(file: &FilePlan, owner: Owner) -> bool {
    let Ok(found) = std::fs::symlink_metadata(&file.path) else { return false };
    owner.uid.is_none_or(|uid| uid == found.uid()) && owner.gid.is_none_or(|gid| gid == found.gid())
}

fn is_our_group(gid: u32) -> bool {
    getegid().as_raw() == gid || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// Whether we may change owners.
fn may_chown() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.map_or_else(|| geteuid().is_root(), |bits| bits >> CHOWN & 1 == 1)
}
