//! Sizes as users write them: `8GiB`, `8G`, `8192MiB`, or a plain number in the unit of the option. Units are binary, as for
//! memory and disks in Proxmox.

/// Memory size in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub u32);

/// Disk size in GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk(pub u32);

const MIB: u64 = 1;
const GIB: u64 = 1024;

impl Memory {
    /// Parses a memory size. A plain number is MiB.
    ///
    /// # Errors
    /// Returns the reason, including examples of valid sizes.
    pub fn parse(text: &str) -> Result<Memory, String> {
        let mib = mebibytes(text, MIB).ok_or_else(|| format!("{text:?} is not a size: write 8192, 8192MiB or 8GiB"))?;
        u32::try_from(mib).map(Memory).map_err(|_| format!("{text:?} is too large"))
    }
}

impl Disk {
    /// Parses a disk size. A plain number is GiB.
    ///
    /// # Errors
    /// See [`Memory::parse`].
    pub fn parse(text: &str) -> Result<Disk, String> {
        let whole = mebibytes(text, GIB).filter(|mib| mib % GIB == 0).map(|mib| mib / GIB);
        let gib = whole.ok_or_else(|| format!("{text:?} is not a size in whole GiB: write 40, 40GiB or 1TiB"))?;
        u32::try_from(gib).map(Disk).map_err(|_| format!("{text:?} is too large"))
    }
}

fn mebibytes(text: &str, plain: u64) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" => plain,
        "m" | "mb" | "mib" => MIB,
        "g" | "gb" | "gib" => GIB,
        "t" | "tb" | "tib" => GIB * 1024,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_units() {
        for text in ["8192", "8192MiB", "8192M", "8GiB", "8G", "8gb", " 8 GiB "] {
            assert_eq!(Memory::parse(text), Ok(Memory(8192)), "{text}");
        }
        for text in ["40", "40GiB", "40G", "40960MiB"] {
            assert_eq!(Disk::parse(text), Ok(Disk(40)), "{text}");
        }
        assert_eq!(Disk::parse("1TiB"), Ok(Disk(1024)));
        for text in ["", "G", "8X", "-8", "1.5GiB", "8GiB8", "8 192", "99999999999999999999"] {
            assert!(Memory::parse(text).is_err() && Disk::parse(text).is_err(), "{text}");
        }
        assert!(Disk::parse("1500MiB").is_err() && Memory::parse("9999999TiB").is_err());
    }
}
