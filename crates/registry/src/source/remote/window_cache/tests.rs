use super::*;
use proptest::prelude::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// A file in memory that counts the fetched bytes.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    fetched: Arc<AtomicUsize>,
    /// Fetches at or after this offset fail.
    fails_from: u64,
    slow: bool,
}

impl FetchRange for Memory {
    fn place(&self) -> String {
        "memory".into()
    }

    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
        if self.slow {
            std::thread::sleep(Duration::from_millis(2));
        }
        if offset >= self.fails_from {
            return Err(RemoteError::Changed("its tag".into()));
        }
        self.fetched.fetch_add(len, Relaxed);
        Ok(self.bytes[offset as usize..offset as usize + len].to_vec())
    }
}

fn memory(len: usize) -> (Memory, Arc<AtomicUsize>) {
    let bytes = (0..len).map(|i| (i * 7 % 251) as u8).collect();
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    (Memory { bytes, fetched, fails_from: u64::MAX, slow: false }, counted)
}

fn read(file: &dyn RemoteFile, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
    let mut buffer = vec![0; len];
    file.read_at(offset, &mut buffer)?;
    Ok(buffer)
}

proptest! {
    /// Windows are contiguous from the first byte to the last.
    #[test]
    fn windows_cover_a_file_once(window in 32u64..5000, bytes in 1u64..40_000) {
        let windows = WindowCache::new(window, 1 << 20);
        let mut at = 0;
        while at < bytes {
            let here = windows.window_at(at, bytes);
            prop_assert_eq!(here.start, at);
            prop_assert!(here.end > at && here.end <= bytes);
            prop_assert!(here.end - here.start <= window.max(window / 8 + 1));
            prop_assert_eq!(windows.window_at(here.end - 1, bytes), here.clone());
            at = here.end;
        }
    }

    /// Every sequence of reads returns the bytes of the file.
    #[test]
    fn reads_are_those_of_the_file(
        window in 32u64..3000,
        bytes in 1usize..20_000,
        reads in prop::collection::vec((0.0..1.0, 1usize..4000, any::<bool>()), 1..20),
    ) {
        let (memory, _) = memory(bytes);
        let all = memory.bytes.clone();
        let file = WindowedFile::new(memory, &Arc::new(WindowCache::new(window, 4 * MIN_COST)));
        for (place, len, ahead) in reads {
            let offset = ((bytes as f64) * place) as usize;
            let len = len.min(bytes - offset);
            if ahead {
                file.read_ahead(offset as u64, len);
            }
            prop_assert_eq!(&read(&file, offset as u64, len).unwrap(), &all[offset..offset + len]);
        }
    }
}

#[test]
fn readers_share_what_is_fetched() {
    let windows = Arc::new(WindowCache::new(64 << 10, 64 * MIN_COST));
    let (mut memory, fetched) = memory(1 << 20);
    memory.slow = true;
    let all = memory.bytes.clone();
    let file = WindowedFile::new(memory, &windows);
    let together = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                together.wait();
                for offset in (0..1 << 20).step_by(10_007) {
                    let len = 10_007.min((1 << 20) - offset);
                    file.read_ahead(offset as u64, 32 << 20);
                    let found = read(&file, offset as u64, len).unwrap();
                    assert_eq!(found, &all[offset..offset + len]);
                }
            });
        }
    });
    assert_eq!(fetched.load(Relaxed), 1 << 20, "each byte is fetched once");
    drop(file);
    // The last fetch ahead may keep the file for a moment.
    let deadline = Instant::now() + Duration::from_secs(60);
    let usage = || {
        let state = windows.lock();
        (state.windows.len(), state.cost)
    };
    while usage() != (0, 0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(usage(), (0, 0), "dropping a file removes its windows");
}

#[test]
fn many_files_keep_to_one_budget() {
    let windows = Arc::new(WindowCache::new(64 << 10, 4 * MIN_COST));
    for _ in 0..40 {
        let (memory, fetched) = memory(300_000);
        let file = WindowedFile::new(memory, &windows);
        for offset in (0..300_000).step_by(1000) {
            file.read_ahead(offset, 1 << 20);
            read(&file, offset, 1000).unwrap();
            assert!(windows.lock().cost <= 5 * MIN_COST);
        }
        assert_eq!(fetched.load(Relaxed), 300_000);
    }
}

#[test]
fn a_failed_file_stays_failed() {
    let windows = Arc::new(WindowCache::new(1 << 10, 64 * MIN_COST));
    let (mut memory, _) = memory(10_000);
    memory.fails_from = 5_000;
    let file = WindowedFile::new(memory, &windows);
    assert!(read(&file, 0, 1000).is_ok());
    assert!(matches!(read(&file, 4_000, 3_000), Err(RemoteError::Changed(_))));
    assert!(matches!(read(&file, 0, 1000), Err(RemoteError::Changed(_))));
}

#[test]
fn a_response_of_another_length_is_refused() {
    #[derive(Debug)]
    struct Short;
    impl FetchRange for Short {
        fn place(&self) -> String {
            "short".into()
        }
        fn bytes(&self) -> u64 {
            100
        }
        fn fetch(&self, _: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
            Ok(vec![0; len - 1])
        }
    }
    let file = WindowedFile::new(Short, &Arc::default());
    let error = read(&file, 0, 10).unwrap_err();
    assert_eq!(error.to_string(), "received 99 bytes instead of 100");
}
