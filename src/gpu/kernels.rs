//! The kernel sources, part of the binary, and their way to machine code: from the cache on disk, or compiled.
//!
//! What it does: compiles every source for one architecture, several at a time, and keeps the results in a folder under a key of
//! source, header, options, architecture and compiler version, so that a second start compiles nothing.
//! What it does not do: load code on a device. Who calls it: `gpu::Gpu`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::nvrtc::{CompileError, Compiler, options};

/// The header that every source includes: name and text.
pub const HEADER: (&str, &str) = ("common.cuh", include_str!("../../kernels/common.cuh"));

/// Every kernel source: name and text. One file for each operation, named like its folder in `src/ops`.
pub const SOURCES: [(&str, &str); 8] = [
    ("log_mel.cu", include_str!("../../kernels/log_mel.cu")),
    ("subsample.cu", include_str!("../../kernels/subsample.cu")),
    ("linear.cu", include_str!("../../kernels/linear.cu")),
    ("layer_norm.cu", include_str!("../../kernels/layer_norm.cu")),
    ("depthwise_conv.cu", include_str!("../../kernels/depthwise_conv.cu")),
    ("rel_attention.cu", include_str!("../../kernels/rel_attention.cu")),
    ("log_softmax.cu", include_str!("../../kernels/log_softmax.cu")),
    ("transducer.cu", include_str!("../../kernels/transducer.cu")),
];

/// The code of one source for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// File name of the source.
    pub name: &'static str,
    /// A cubin, or PTX text.
    pub code: Vec<u8>,
    /// True if it came from the cache.
    pub cached: bool,
}

/// Where compiled code is kept between starts.
#[derive(Clone, Debug)]
pub struct Cache {
    /// `None` keeps nothing.
    folder: Option<PathBuf>,
}

impl Cache {
    /// The folder at `path`, or the user's cache folder; without a home directory nothing is kept.
    pub fn new(path: Option<&Path>) -> Self {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let user = || {
            std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(home)
        };
        Cache {
            folder: path.map(Path::to_owned).or_else(|| user().map(|path| path.join("hark"))),
        }
    }

    fn read(&self, key: &str) -> Option<Vec<u8>> {
        let stored = fs::read(self.folder.as_ref()?.join(key)).ok()?;
        // The digest in front tells a file that was cut short, by a full disk for instance, from a whole one.
        let (digest, code) = stored.split_at_checked(32)?;
        (Sha256::digest(code).as_slice() == digest).then(|| code.to_vec())
    }

    /// Keeps the code if it can be kept: a cache that cannot be written makes the next start slower, nothing else.
    fn write(&self, key: &str, code: &[u8]) {
        let Some(folder) = &self.folder else { return };
        let stored = fs::create_dir_all(folder).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&Sha256::digest(code))?;
            file.write_all(code)?;
            file.persist(folder.join(key)).map_err(|error| error.error)
        });
        if let Err(error) = stored {
            tracing::warn!(%error, folder = %folder.display(), "compiled kernels cannot be cached");
        }
    }
}

/// Machine code of every source for `arch` (`sm_90`), or PTX if `arch` is virtual (`compute_90`).
///
/// # Errors
/// The first source that does not compile.
pub fn images(compiler: &Compiler, cache: &Cache, arch: &str) -> Result<Vec<Image>, CompileError> {
    // NVRTC compiles on several threads at once; each source is a program of its own.
    std::thread::scope(|scope| {
        let started = SOURCES.map(|(name, source)| scope.spawn(move || image(compiler, cache, name, source, arch)));
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(CompileError::Missing)))
            .collect()
    })
}

fn image(compiler: &Compiler, cache: &Cache, name: &'static str, source: &str, arch: &str) -> Result<Image, CompileError> {
    let key = key(compiler, name, source, arch);
    if let Some(code) = cache.read(&key) {
        return Ok(Image { name, code, cached: true });
    }
    let compiled = compiler.compile(name, source, arch)?;
    let code = if compiled.cubin.is_empty() {
        compiled.ptx.into_bytes()
    } else {
        compiled.cubin
    };
    cache.write(&key, &code);
    Ok(Image { name, code, cached: false })
}

/// The file name under which the code is kept.
fn key(compiler: &Compiler, name: &str, source: &str, arch: &str) -> String {
    let mut hash = Sha256::new();
    let (major, minor) = compiler.version();
    for part in [HEADER.1, source, &options(arch).join(" "), &format!("{major}.{minor}")] {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{arch}-{hex}", name.trim_end_matches(".cu"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_gives_back_what_it_was_given_and_nothing_broken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path()));
        assert_eq!(cache.read("k"), None);
        cache.write("k", b"code");
        assert_eq!(cache.read("k"), Some(b"code".to_vec()));
        let path = folder.path().join("k");
        let mut stored = fs::read(&path).unwrap();
        stored.pop();
        fs::write(&path, stored).unwrap();
        assert_eq!(cache.read("k"), None, "a file cut short");
        fs::write(&path, b"x").unwrap();
        assert_eq!(cache.read("k"), None, "a file shorter than its digest");
    }

    #[test]
    fn every_source_file_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".cu"))
            .collect();
        let mut embedded: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
        files.sort();
        embedded.sort_unstable();
        assert_eq!(files, embedded);
    }
}
