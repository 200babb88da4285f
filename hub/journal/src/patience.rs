//! Reads at opening, where what cannot be read counts as damage: a failure that passes must not.

use std::io;

use crate::disk::DiskFile;

/// A read that fails is tried again this often before the sector counts as unreadable.
const TRIES: u32 = 3;

/// Reads some bytes at `offset`, again and again while it fails, a few times.
pub(crate) fn read_some(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut tries = 0;
    loop {
        match file.read_at(buffer, offset) {
            Err(_) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

/// Fills as much of the buffer as there is; how much that was. What cannot be read ends it.
pub(crate) fn read_most(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> usize {
    let mut done = 0;
    while done < buffer.len() {
        match read_some(file, &mut buffer[done..], offset + done as u64) {
            Ok(n) if n > 0 => done += n,
            Ok(_) | Err(_) => break,
        }
    }
    done
}
