//! Becoming a user without privileges.

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Becomes user and group `id`, in no other group, with no capability; with `search`, the one that passes folders
/// and reads files of others stays: whoever keeps it must be kept from files by something else.
pub(super) fn become_user(id: u32, search: bool) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_keep_capabilities(search)?;
    set_thread_res_uid(uid, uid, uid)?;
    let kept = match search {
        true => CapabilitySet::DAC_READ_SEARCH,
        false => CapabilitySet::empty(),
    };
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        },
    )?;
    if search {
        configure_capability_in_ambient_set(kept, true)?;
        set_keep_capabilities(false)?;
    }
    Ok(())
}
