//! The cloud-init image: a small ISO 9660 with the label `cidata` (go-proxmox v0.3.2 virtual_machine.go:133-182).

const SECTOR: usize = 2048;
/// As many bytes as the recorded uploads carry.
const SECTORS: usize = 25;

/// What stands before the join token in the user data, so that a machine can be asked for it.
const TOKEN_KEY: &str = "jointoken=";

/// The image of one machine. The token lets it join Omni.
pub fn image(uuid: &str, name: &str, token: &str) -> Vec<u8> {
    let user = format!(
        "apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: https://omni.example.invalid:8090?{TOKEN_KEY}{token}\n---\n\
         apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: '[fdae:41e4:649b:9303::1]:8091'\n---\n\
         apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: omni-kmsg\nurl: tcp://[fdae:41e4:649b:9303::1]:8092\n"
    );
    let meta = format!("instance-id: {uuid}\nlocal-hostname: {name}\nhostname: {name}");
    let files: [(&str, &str); 3] = [("META_DATA", &meta), ("NETWORK_CONFIG", "version: 1"), ("USER_DATA", &user)];
    let mut out = vec![0u8; SECTOR * SECTORS];
    let mut directory = record(&[0], 20, SECTOR, true);
    directory.extend(record(&[1], 20, SECTOR, true));
    for (number, (file, text)) in files.iter().enumerate() {
        let sector = 21 + number;
        directory.extend(record(file.as_bytes(), sector, text.len(), false));
        put(&mut out, sector * SECTOR, text.as_bytes());
    }
    put(&mut out, 20 * SECTOR, &directory);
    put(&mut out, 16 * SECTOR, &descriptor());
    put(&mut out, 17 * SECTOR, b"\xffCD001\x01");
    put(&mut out, 18 * SECTOR, &[1, 0, 20, 0, 0, 0, 1, 0, 0, 0]);
    put(&mut out, 19 * SECTOR, &[1, 0, 0, 0, 0, 20, 0, 1, 0, 0]);
    out
}

/// The join token in an image, if there is one.
pub fn token(image: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(image);
    let (_, rest) = text.split_once(TOKEN_KEY)?;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(out.len());
    out[at..end].copy_from_slice(&bytes[..end - at]);
}

/// A number in both byte orders.
fn both(number: usize) -> Vec<u8> {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn record(name: &[u8], sector: usize, length: usize, directory: bool) -> Vec<u8> {
    let size = 33 + name.len() + (name.len() + 1) % 2;
    let mut out = vec![u8::try_from(size).unwrap_or(u8::MAX), 0];
    out.extend(both(sector));
    out.extend(both(length));
    out.extend([126, 1, 1, 0, 0, 0, 0]); // a date
    out.extend([if directory { 2 } else { 0 }, 0, 0, 1, 0, 0, 1, u8::try_from(name.len()).unwrap_or(0)]);
    out.extend(name);
    out.resize(size, 0);
    out
}

fn descriptor() -> Vec<u8> {
    let mut out = vec![0u8; SECTOR];
    put(&mut out, 0, b"\x01CD001\x01");
    out[8..72].fill(b' ');
    put(&mut out, 40, b"cidata");
    put(&mut out, 80, &both(SECTORS));
    put(&mut out, 120, &[1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 8, 0]);
    put(&mut out, 132, &both(10));
    put(&mut out, 140, &18u32.to_le_bytes());
    put(&mut out, 148, &19u32.to_be_bytes());
    put(&mut out, 156, &record(&[0], 20, SECTOR, true));
    out[190..813].fill(b' ');
    out[881] = 1;
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_again() {
        let image = image("u", "demo", "abc-123");
        assert_eq!(image.len(), 51_200);
        assert_eq!(&image[16 * SECTOR..16 * SECTOR + 6], b"\x01CD001");
        assert_eq!(&image[16 * SECTOR + 40..16 * SECTOR + 46], b"cidata");
        assert_eq!(token(&image).as_deref(), Some("abc-123"));
        assert_eq!(token(b"nothing"), None);
    }
}
