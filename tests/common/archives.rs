//! Zip archives and pickles made by code, sound or as broken as a test wants them.

/// What one of the two headers of a member says.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc32: u32,
    pub stored: u32,
    pub bytes: u32,
    pub extra: Vec<u8>,
}

/// A member: what the directory and its own header say, and its data.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub central: Header,
    pub local: Header,
    pub data: Vec<u8>,
    /// Before its header.
    pub gap: Vec<u8>,
    /// Behind its data.
    pub behind: Vec<u8>,
    /// Added to the place that the directory states.
    pub shift: i64,
}

impl Member {
    /// Stored as it is.
    pub(crate) fn new(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Member {
        let data = data.as_ref().to_vec();
        let header = Header {
            name: name.as_ref().to_vec(),
            flags: 0,
            method: 0,
            crc32: crc32fast::hash(&data),
            stored: data.len() as u32,
            bytes: data.len() as u32,
            extra: Vec::new(),
        };
        let local = header.clone();
        Member { central: header, local, data, gap: Vec::new(), behind: Vec::new(), shift: 0 }
    }
}

/// An archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zip {
    pub prefix: Vec<u8>,
    /// Whether offsets count from behind the prefix.
    pub shifted: bool,
    pub members: Vec<Member>,
    /// Before the directory, and between it and its end.
    pub gaps: [Vec<u8>; 2],
    /// Added to the number of members.
    pub more: i32,
    pub disk: u16,
    pub comment: Vec<u8>,
    pub trailing: Vec<u8>,
    /// Whether there is a 64-bit end; what is added to its number of members, and to its place.
    pub zip64: Option<(i64, i64)>,
    /// Added to the place of the directory.
    pub directory_shift: i64,
}

impl Zip {
    pub(crate) fn of(members: Vec<Member>) -> Zip {
        Zip { members, ..Zip::default() }
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.local.name == name.as_bytes()).unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let base = if self.shifted { self.prefix.len() } else { 0 } as i64;
        let mut central = Vec::new();
        for member in &self.members {
            out.extend(&member.gap);
            let at = out.len() as i64 - base + member.shift;
            let Header { name, flags, method, crc32, stored, bytes, extra } = &member.local;
            out.extend(b"PK\x03\x04\x14\0");
            out.extend(flags.to_le_bytes());
            out.extend(method.to_le_bytes());
            out.extend([0; 4]);
            for word in [crc32, stored, bytes] {
                out.extend(word.to_le_bytes());
            }
            out.extend((name.len() as u16).to_le_bytes());
            out.extend((extra.len() as u16).to_le_bytes());
            out.extend(name);
            out.extend(extra);
            out.extend(&member.data);
            out.extend(&member.behind);
            let Header { name, flags, method, crc32, stored, bytes, extra } = &member.central;
            central.extend(b"PK\x01\x02\x14\0\x14\0");
            central.extend(flags.to_le_bytes());
            central.extend(method.to_le_bytes());
            central.extend([0; 4]);
            for word in [crc32, stored, bytes] {
                central.extend(word.to_le_bytes());
            }
            central.extend((name.len() as u16).to_le_bytes());
            central.extend((extra.len() as u16).to_le_bytes());
            central.extend([0; 10]);
            central.extend((at as u32).to_le_bytes());
            central.extend(name);
            central.extend(extra);
        }
        out.extend(&self.gaps[0]);
        let start = out.len() as i64 - base + self.directory_shift;
        out.extend(&central);
        out.extend(&self.gaps[1]);
        let count = self.members.len() as i64 + i64::from(self.more);
        if let Some((more, shift)) = self.zip64 {
            let at = out.len() as i64 - base + shift;
            out.extend(b"PK\x06\x06");
            out.extend(44u64.to_le_bytes());
            out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            for value in [count + more, count + more, central.len() as i64, start] {
                out.extend(value.to_le_bytes());
            }
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(at.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        out.extend(b"PK\x05\x06");
        out.extend(self.disk.to_le_bytes());
        out.extend(self.disk.to_le_bytes());
        let narrow = if self.zip64.is_some_and(|(more, _)| more > 0xFFFF) { 0xFFFF } else { count };
        out.extend((narrow as u16).to_le_bytes());
        out.extend((narrow as u16).to_le_bytes());
        out.extend((central.len() as u32).to_le_bytes());
        out.extend((start as u32).to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.trailing);
        out
    }
}

/// Pickles of protocol 2, put together from parts.
pub(crate) mod pickled {
    pub(crate) fn text(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    pub(crate) fn int(value: i64) -> Vec<u8> {
        [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
    }

    pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    pub(crate) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries = entries.iter().map(|(key, value)| [text(key), value.clone()].concat());
        [b"}(".to_vec(), entries.collect::<Vec<_>>().concat(), b"u".to_vec()].concat()
    }

    pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    /// What is called, with a tuple of arguments.
    pub(crate) fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
        [global(module, name), tuple(arguments), b"R".to_vec()].concat()
    }

    pub(crate) fn whole(value: Vec<u8>) -> Vec<u8> {
        [b"\x80\x02".to_vec(), value, b".".to_vec()].concat()
    }

    pub(crate) fn storage(class: &str, key: &str, elements: i64) -> Vec<u8> {
        let id = [text("storage"), global("torch", class), text(key), text("cpu"), int(elements)];
        [tuple(&id), b"Q".to_vec()].concat()
    }

    /// A tensor of a storage.
    pub(crate) fn view(storage: Vec<u8>, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
        let ints = |values: &[i64]| tuple(&values.iter().map(|v| int(*v)).collect::<Vec<_>>());
        let hooks = call("collections", "OrderedDict", &[]);
        let arguments = [storage, int(offset), ints(shape), ints(stride), b"\x89".to_vec(), hooks];
        call("torch._utils", "_rebuild_tensor_v2", &arguments)
    }

    /// A tensor of F32 that fills its storage.
    pub(crate) fn tensor(key: &str, elements: i64) -> Vec<u8> {
        view(storage("FloatStorage", key, elements), 0, &[elements], &[1])
    }
}

/// An archive of `torch.save` with this pickle and these storages.
pub(crate) fn torch_zip(pickle: Vec<u8>, storages: &[(&str, Vec<u8>)]) -> Zip {
    let mut members = vec![Member::new("m/data.pkl", pickle), Member::new("m/byteorder", "little")];
    let storage = |(key, data): &(&str, Vec<u8>)| Member::new(format!("m/data/{key}"), data);
    members.extend(storages.iter().map(storage));
    members.push(Member::new("m/version", "3\n"));
    Zip::of(members)
}
