//! One file: what the medium holds, and what only the page cache does.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// The unit of the page cache.
pub(super) const PAGE: usize = 4096;
/// The unit the medium writes whole.
const SECTOR: usize = 512;

type Block = Box<[u8; PAGE]>;

#[derive(Debug, Clone)]
struct Cached {
    block: Block,
    /// The next sync writes it. A page a failed sync gave up on is clean and still not on the medium.
    dirty: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    size: u64,
    size_on_medium: u64,
    /// Bytes of the disk it takes.
    pub(super) reserved: u64,
    cache: BTreeMap<u64, Cached>,
    medium: BTreeMap<u64, Block>,
}

fn zeros() -> Block {
    Box::new([0; PAGE])
}

impl Inode {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn block(&self, page: u64) -> Option<&Block> {
        let cached = self.cache.get(&page).map(|c| &c.block);
        cached.or_else(|| self.medium.get(&page))
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let length = self.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let part = (PAGE - within).min(length - done);
            let into = &mut buffer[done..done + part];
            match self.block(at / PAGE as u64) {
                Some(block) => into.copy_from_slice(&block[within..within + part]),
                None => into.fill(0),
            }
            done += part;
        }
        length
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let part = (PAGE - within).min(bytes.len() - done);
            let block = self.dirty(at / PAGE as u64);
            block[within..within + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
        self.size = self.size.max(offset + bytes.len() as u64);
        self.reserved = self.reserved.max(self.size);
    }

    fn dirty(&mut self, page: u64) -> &mut Block {
        let block = self.block(page).cloned().unwrap_or_else(zeros);
        let cached = Cached { block, dirty: true };
        let entry = self.cache.entry(page).or_insert(cached);
        entry.dirty = true;
        &mut entry.block
    }

    pub(super) fn allocate(&mut self, size: u64) {
        self.size = self.size.max(size);
        self.reserved = self.reserved.max(size);
    }

    pub(super) fn truncate(&mut self, size: u64) {
        let behind = size.div_ceil(PAGE as u64);
        self.cache.split_off(&behind);
        let on_medium: Vec<u64> = self.medium.range(behind..).map(|(page, _)| *page).collect();
        for page in on_medium {
            self.cache.insert(
                page,
                Cached {
                    block: zeros(),
                    dirty: true,
                },
            );
        }
        let within = (size % PAGE as u64) as usize;
        let page = size / PAGE as u64;
        if within > 0 && self.block(page).is_some() {
            self.dirty(page)[within..].fill(0);
        }
        self.size = size;
        self.reserved = size;
    }

    /// A sync that succeeds.
    pub(super) fn sync(&mut self) {
        let dirty: Vec<u64> = self
            .cache
            .iter()
            .filter(|(_, c)| c.dirty)
            .map(|(page, _)| *page)
            .collect();
        for page in dirty {
            self.medium
                .extend(self.cache.remove(&page).map(|cached| (page, cached.block)));
        }
        self.size_on_medium = self.size;
        self.drop_behind_end();
    }

    /// A sync that fails: some pages may have been written, none will be tried again, and any may be read from the
    /// medium again as soon as memory is short.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice) {
        self.half_sync(dice);
        for cached in self.cache.values_mut() {
            cached.dirty = false;
        }
        if dice.chance(300) {
            self.cache.clear();
        }
    }

    /// A sync nobody hears the end of: some pages are written.
    pub(super) fn half_sync(&mut self, dice: &mut Dice) {
        for (page, cached) in &self.cache {
            if cached.dirty && dice.chance(400) {
                self.medium.insert(*page, cached.block.clone());
            }
        }
        if dice.chance(500) {
            self.size_on_medium = self.size;
        }
    }

    /// The power goes: each page that was not synced is lost so often in a thousand, some only in part.
    pub(super) fn crash(&mut self, permille: u64, dice: &mut Dice) {
        for (page, cached) in std::mem::take(&mut self.cache) {
            if !cached.dirty {
                continue;
            }
            if !dice.chance(permille) {
                self.medium.insert(page, cached.block);
            } else if permille < 1000 && dice.chance(300) {
                self.tear(page, &cached.block, dice);
            }
        }
        if !dice.chance(permille) {
            self.size_on_medium = self.size;
        }
        self.size = self.size_on_medium;
        self.reserved = self.size;
        self.drop_behind_end();
    }

    /// Some sectors of the page are written, others not.
    fn tear(&mut self, page: u64, block: &Block, dice: &mut Dice) {
        let old = self.medium.entry(page).or_insert_with(zeros);
        for (old, new) in old.chunks_mut(SECTOR).zip(block.chunks(SECTOR)) {
            if dice.chance(500) {
                old.copy_from_slice(new);
            }
        }
    }

    fn drop_behind_end(&mut self) {
        let end = self.size_on_medium.max(self.size);
        self.medium.split_off(&end.div_ceil(PAGE as u64));
        let within = (end % PAGE as u64) as usize;
        if within > 0
            && let Some(block) = self.medium.get_mut(&(end / PAGE as u64))
        {
            block[within..].fill(0);
        }
    }
}
