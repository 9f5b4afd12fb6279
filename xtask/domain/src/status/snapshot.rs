//! Reads the file of an etcd snapshot of Omni: the account, the number of resources, and the keys that open the store.
//!
//! The file is a bbolt database (etcd-io/bbolt v1.4 `page.go`, `node.go`) whose bucket `key` has a value for each revision (etcd
//! v3.6.12 `api/mvccpb/kv.proto`). Omni's keys are `/omni/ACCOUNT/NAMESPACE/TYPE/ID`, with a hash for the ID, and
//! `keystore-omni/record-store/HASH` contains the slots of its key store (omni v1.9.3 `internal/backend/runtime/keyprovider`).

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};

const DAMAGED: &str = "the etcd snapshot is damaged";
/// The magic number of a bbolt database.
const MAGIC: u32 = 0xED0C_DAED;
const HEADER: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// Prefix of the keys whose values are kept in memory.
const KEY_STORE: &[u8] = b"keystore-omni/";

/// The contents of a store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// Number of keys by account, which is part of the key prefix; several if Omni once ran with another account.
    pub accounts: BTreeMap<String, u64>,
    /// Number of resources by type: `Clusters`, `Machines`.
    pub kinds: BTreeMap<String, u64>,
    /// The key of the store as an armored PGP message, by slot name, `Omni <fingerprint>`.
    pub slots: BTreeMap<String, String>,
}

impl Store {
    /// Returns the number of resources of a type.
    pub fn count(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or_default()
    }
}

/// Reads a snapshot.
///
/// # Errors
/// Returns the reason if the file is not a snapshot or is damaged.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Store, String> {
    let mut pages = Pages::open(file)?;
    let mut live: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    pages.visit_revisions(&mut |revision, value| {
        let mut fields = fields(value)?;
        let key = fields.remove(&1)?.pop()?.to_vec();
        // A revision has 17 bytes; a deletion has an additional mark after them.
        if revision.len() > 17 {
            live.remove(&key);
        } else {
            let kept = fields.remove(&5).filter(|_| key.starts_with(KEY_STORE)).and_then(|mut values| values.pop());
            live.insert(key, kept.unwrap_or_default().to_vec());
        }
        Some(())
    })?;
    let mut store = Store::default();
    for (key, value) in &live {
        let text = String::from_utf8_lossy(key);
        if key.starts_with(KEY_STORE) {
            store.slots.extend(slots(value).ok_or("the key store in the etcd snapshot is damaged")?);
        } else if let ["", "omni", account, _, kind, ..] = text.split('/').collect::<Vec<_>>()[..] {
            *store.accounts.entry(account.to_owned()).or_default() += 1;
            let kind = kind.split('.').next().unwrap_or_default();
            *store.kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    Ok(store)
}

/// Parses the slots of a key store (cosi-project/runtime v1.16.2 `api/key_storage/key_storage.proto`).
fn slots(value: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let slot = |entry: &&[u8]| {
        let entry = fields(entry)?;
        let key = fields(entry.get(&2)?.last()?)?;
        Some((text(entry.get(&1)?.last()?)?, text(key.get(&2)?.last()?)?))
    };
    fields(value)?.get(&2)?.iter().map(slot).collect()
}

/// Parses the length-delimited fields of a message, by number; varint fields are skipped.
fn fields(mut bytes: &[u8]) -> Option<BTreeMap<u64, Vec<&[u8]>>> {
    let mut found: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => drop(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (field, rest) = bytes.split_at_checked(length)?;
                found.entry(tag >> 3).or_default().push(field);
                bytes = rest;
            }
            _ => return None,
        }
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

fn size(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(number::<4>(bytes, at)?).ok()
}

/// The pages of a database.
struct Pages<'a, F> {
    file: &'a mut F,
    size: usize,
    root: u64,
    /// The number of pages.
    count: u64,
    /// Number of pages that may still be read; each page is read at most once.
    left: u64,
}

/// Callback for a key and its value; returns `None` if they are damaged.
type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Option<()>;

impl<F: Read + Seek> Pages<'_, F> {
    fn open(file: &mut F) -> Result<Pages<'_, F>, String> {
        let mut head = vec![0; 4096];
        file.read_exact(&mut head).map_err(|_| "the etcd snapshot is truncated".to_owned())?;
        let meta = head.get(HEADER..HEADER + 64).unwrap_or_default();
        let sum = meta
            .iter()
            .take(56)
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let valid = number::<4>(meta, 0) == Some(MAGIC.into()) && number::<8>(meta, 56) == Some(sum);
        let (size, root, count) = (size(meta, 8), number::<8>(meta, 16), number::<8>(meta, 40));
        match (size, root, count) {
            (Some(size @ 512..=0x1_0000), Some(root), Some(count)) if valid => {
                Ok(Pages { file, size, root, count, left: count })
            }
            _ => Err("it is not an etcd snapshot, or its first page is damaged".to_owned()),
        }
    }

    /// Reads a page with its overflow pages.
    fn page(&mut self, id: u64) -> Option<Vec<u8>> {
        let mut page = self.bytes(id, 1)?;
        let more = number::<4>(&page, 12)?;
        if more > 0 {
            page = self.bytes(id, more + 1)?;
        }
        self.left = self.left.checked_sub(more + 1)?;
        (number::<8>(&page, 0)? == id).then_some(page)
    }

    fn bytes(&mut self, id: u64, pages: u64) -> Option<Vec<u8>> {
        if id < 2 || id.checked_add(pages)? > self.count {
            return None;
        }
        let size = u64::try_from(self.size).ok()?;
        self.file.seek(SeekFrom::Start(id.checked_mul(size)?)).ok()?;
        let length = pages.checked_mul(size)?;
        let mut page = Vec::new();
        self.file.by_ref().take(length).read_to_end(&mut page).ok()?;
        (u64::try_from(page.len()).ok()? == length).then_some(page)
    }

    /// Visits the entries of the bucket `key`, in order.
    fn visit_revisions(&mut self, visit: Visit<'_>) -> Result<(), String> {
        let mut bucket = None;
        let root = self.page(self.root).ok_or(DAMAGED)?;
        self.walk(root, &mut |key, value| {
            if key == b"key" {
                bucket = Some(value.to_vec());
            }
            Some(())
        })
        .ok_or(DAMAGED)?;
        let bucket = bucket.ok_or("the etcd snapshot has no keys")?;
        let page = match number::<8>(&bucket, 0).ok_or(DAMAGED)? {
            // A small bucket is stored inline in its parent.
            0 => bucket.get(HEADER..).unwrap_or_default().to_vec(),
            root => self.page(root).ok_or(DAMAGED)?,
        };
        self.walk(page, visit).ok_or_else(|| DAMAGED.to_owned())
    }

    fn walk(&mut self, first: Vec<u8>, visit: Visit<'_>) -> Option<()> {
        let (mut page, mut next) = (first, Vec::new());
        loop {
            let (kind, count) = (number::<2>(&page, 8)?, number::<2>(&page, 10)?);
            let elements = (0..usize::try_from(count).ok()?).map(|index| HEADER + index * 16);
            match u16::try_from(kind).ok()? {
                BRANCH => {
                    let children = elements.rev().map(|at| number::<8>(&page, at + 8));
                    next.extend(children.collect::<Option<Vec<u64>>>()?);
                }
                LEAF => {
                    for at in elements {
                        let start = at.checked_add(size(&page, at + 4)?)?;
                        let middle = start.checked_add(size(&page, at + 8)?)?;
                        let end = middle.checked_add(size(&page, at + 12)?)?;
                        visit(page.get(start..middle)?, page.get(middle..end)?)?;
                    }
                }
                _ => return None,
            }
            let Some(id) = next.pop() else { return Some(()) };
            page = self.page(id)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A store of Omni 1.4.9, saved by etcdctl 3.6.6, with most of it removed.
    const RECORDED: &[u8] = include_bytes!("../../../../lab/data/store/etcd.db");

    #[test]
    fn snapshot_names_account_resources_and_key_slots() {
        let store = read(&mut Cursor::new(RECORDED)).unwrap();
        assert_eq!(store.accounts, [("00000000-0000-4000-8000-000000000000".to_owned(), 45)].into());
        let kinds = [("Clusters", 1), ("MachineClasses", 1), ("MachineSets", 2), ("Machines", 39), ("Users", 2)];
        assert_eq!(store.kinds, kinds.map(|(kind, count)| (kind.to_owned(), count)).into());
        let (slot, message) = store.slots.first_key_value().unwrap();
        assert_eq!(slot, "Omni-Scale lab, guards nothing <025e35d2da7ebe427fd728398edc3b7f3b9233c2>");
        assert!(message.starts_with("-----BEGIN PGP MESSAGE-----"), "{message}");
    }

    #[test]
    fn damaged_snapshot_is_an_error_and_never_a_panic() {
        for length in [0, 16, 4095, 4096, 8192, 20_000] {
            assert!(read(&mut Cursor::new(&RECORDED[..length])).is_err(), "{length}");
        }
        for round in 0..1_500_usize {
            let mut bytes = RECORDED.to_vec();
            let at = round.wrapping_mul(7919) % bytes.len();
            bytes[at] ^= 1 << (round % 8);
            // Unused pages may contain anything.
            let _ = read(&mut Cursor::new(&bytes));
        }
    }
}
