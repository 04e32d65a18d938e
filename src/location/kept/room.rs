//! Where kept bytes are: in memory up to a limit, then in a file without a name below `TMPDIR`.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

/// The limits of what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub memory: u64,
    pub disk: u64,
}

/// Bytes that are kept until the last owner drops them.
pub(super) struct Slot {
    held: Mutex<Held>,
    room: Arc<Room>,
}

#[derive(Clone)]
enum Held {
    Memory(Bytes),
    Disk(OnDisk),
}

/// A part of a spill file.
#[derive(Clone)]
struct OnDisk {
    file: Arc<File>,
    at: u64,
    length: usize,
}

/// Keeps account of what is in memory, oldest first, and of the spill file.
pub(super) struct Room {
    memory: AtomicU64,
    disk: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_memory: u64,
    oldest_first: VecDeque<Weak<Slot>>,
    spill: Option<Spill>,
}

struct Spill {
    file: Arc<File>,
    end: u64,
}

impl Room {
    pub(super) fn new(limits: Limits) -> Arc<Room> {
        let memory = AtomicU64::new(limits.memory);
        Arc::new(Room { memory, disk: limits.disk, state: Mutex::default() })
    }

    pub(super) fn memory_limit(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Lowers the limit of memory.
    pub(super) fn hold_at_most(&self, memory: u64) {
        self.memory.fetch_min(memory, Ordering::Relaxed);
    }

    /// Keeps bytes. May write older ones to disk. True when the spill file was full and another one
    /// was begun: what is in the old one can be forgotten ([`Slot::is_left_behind`]).
    pub(super) async fn keep(self: &Arc<Room>, bytes: Bytes) -> (Arc<Slot>, bool) {
        let length = bytes.len() as u64;
        let slot = Arc::new(Slot { held: Mutex::new(Held::Memory(bytes)), room: self.clone() });
        let mut to_spill = Vec::new();
        {
            let mut state = self.state();
            state.in_memory += length;
            state.oldest_first.push_back(Arc::downgrade(&slot));
            let mut in_memory = state.in_memory;
            while in_memory > self.memory_limit() {
                let Some(oldest) = state.oldest_first.pop_front() else { break };
                if let Some(oldest) = oldest.upgrade() {
                    in_memory -= oldest.in_memory();
                    to_spill.push(oldest);
                }
            }
        }
        if to_spill.is_empty() {
            return (slot, false);
        }
        let room = self.clone();
        let spilled = tokio::task::spawn_blocking(move || {
            let mut is_another = false;
            for slot in to_spill {
                is_another |= room.spill(&slot)?;
            }
            Ok::<_, std::io::Error>(is_another)
        });
        let is_another = match spilled.await {
            Ok(Ok(is_another)) => is_another,
            Ok(Err(error)) => {
                tracing::warn!("cannot write below TMPDIR, so more is held in memory: {error}");
                false
            }
            Err(_) => false,
        };
        (slot, is_another)
    }

    /// Moves bytes from memory to disk. Returns whether another spill file was begun.
    fn spill(&self, slot: &Slot) -> std::io::Result<bool> {
        let Held::Memory(bytes) = slot.held().clone() else { return Ok(false) };
        let length = bytes.len();
        let (on_disk, is_another) = {
            let mut state = self.state();
            let full = state
                .spill
                .as_ref()
                .is_some_and(|spill| spill.end > 0 && spill.end + length as u64 > self.disk);
            let spill = match state.spill.take().filter(|_| !full) {
                Some(spill) => spill,
                None => Spill { file: Arc::new(tempfile::tempfile()?), end: 0 },
            };
            let on_disk = OnDisk { file: spill.file.clone(), at: spill.end, length };
            state.spill = Some(Spill { end: spill.end + length as u64, ..spill });
            (on_disk, full)
        };
        on_disk.file.write_all_at(&bytes, on_disk.at)?;
        *slot.held() = Held::Disk(on_disk);
        self.state().in_memory -= length as u64;
        Ok(is_another)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Some of the bytes. Errors: there are fewer; the disk fails.
    pub(super) async fn bytes(&self, range: Range<usize>) -> std::io::Result<Bytes> {
        let held = self.held().clone();
        let length = match &held {
            Held::Memory(bytes) => bytes.len(),
            Held::Disk(on_disk) => on_disk.length,
        };
        if range.start > range.end || range.end > length {
            return Err(std::io::Error::other("it is shorter than it was"));
        }
        match held {
            Held::Memory(bytes) => Ok(bytes.slice(range)),
            Held::Disk(OnDisk { file, at, .. }) => {
                let read = tokio::task::spawn_blocking(move || {
                    let mut bytes = vec![0; range.end - range.start];
                    file.read_exact_at(&mut bytes, at + range.start as u64)?;
                    Ok(Bytes::from(bytes))
                });
                read.await.map_err(std::io::Error::other)?
            }
        }
    }

    /// Whether the bytes are in a spill file that is not written to any more.
    pub(super) fn is_left_behind(&self) -> bool {
        let Held::Disk(on_disk) = self.held().clone() else { return false };
        let state = self.room.state();
        state.spill.as_ref().is_none_or(|spill| !Arc::ptr_eq(&spill.file, &on_disk.file))
    }

    fn in_memory(&self) -> u64 {
        match &*self.held() {
            Held::Memory(bytes) => bytes.len() as u64,
            Held::Disk(_) => 0,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let in_memory = self.in_memory();
        self.room.state().in_memory -= in_memory;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { memory: 10, disk: 20 };

    #[tokio::test]
    async fn the_oldest_bytes_go_to_disk_and_are_read_from_there() {
        let room = Room::new(SMALL);
        let mut slots = Vec::new();
        for number in 0..4_u8 {
            let (slot, is_another) = room.keep(Bytes::from(vec![number; 5])).await;
            assert!(!is_another);
            slots.push(slot);
        }
        let in_memory: Vec<u64> = slots.iter().map(|slot| slot.in_memory()).collect();
        assert_eq!(in_memory, [0, 0, 5, 5]);
        for (number, slot) in slots.iter().enumerate() {
            assert!(slot.bytes(1..6).await.is_err(), "beyond the end");
            assert_eq!(slot.bytes(1..4).await.unwrap(), vec![number as u8; 3]);
        }
        slots.truncate(3);
        assert_eq!(room.state().in_memory, 5);
    }

    #[tokio::test]
    async fn a_full_spill_file_is_left_behind() {
        let room = Room::new(SMALL);
        let mut slots = Vec::new();
        let mut begun = Vec::new();
        for number in 0..8_u8 {
            let (slot, is_another) = room.keep(Bytes::from(vec![number; 5])).await;
            slots.push(slot);
            begun.push(is_another);
        }
        assert_eq!(begun.iter().filter(|is_another| **is_another).count(), 1);
        let left: Vec<bool> = slots.iter().map(|slot| slot.is_left_behind()).collect();
        assert_eq!(left, [true, true, true, true, false, false, false, false]);
        assert_eq!(slots[0].bytes(0..5).await.unwrap(), vec![0; 5], "as long as somebody holds it");
    }

    #[tokio::test]
    async fn bytes_beyond_the_limit_go_to_disk_at_once() {
        let room = Room::new(SMALL);
        let (slot, _) = room.keep(Bytes::from(vec![7; 11])).await;
        assert_eq!(slot.in_memory(), 0);
        assert_eq!(slot.bytes(0..11).await.unwrap(), vec![7; 11]);
    }
}
