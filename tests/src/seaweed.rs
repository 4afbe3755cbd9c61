//! S3 on this machine: SeaweedFS, the stand-in that is right on conditional writes.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::process::{self, Running};
use crate::python::Python;

/// A running S3 endpoint with one bucket; stopped by process id and removed when dropped.
#[derive(Debug)]
pub struct Seaweed {
    // Dropped in this order: the server first, then its folder.
    server: Running,
    _folder: tempfile::TempDir,
    port: u16,
}

/// Access key and secret of the one identity that may do everything.
pub const CREDENTIALS: (&str, &str) = ("weir", "weir-secret");

/// The bucket that is there.
pub const BUCKET: &str = "lake";

impl Seaweed {
    /// Start it on free loopback ports, with an empty bucket.
    pub fn start(python: &Python) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-s3-").tempdir().unwrap();
        let config = folder.path().join("s3.json");
        std::fs::write(&config, identities()).unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();

        let names = ["master", "volume", "filer", "s3"];
        let (ports, internal) = (process::free_ports::<8>(), 4);
        let mut weed = server(python, &data, &config);
        for (i, name) in names.into_iter().enumerate() {
            weed.arg(format!("-{name}.port={}", ports[i]));
            weed.arg(format!("-{name}.port.grpc={}", ports[i + internal]));
        }
        let s3 = ports[3];
        let mut started = Running::start(&mut weed, &folder.path().join("log"));
        let up = process::wait_until(Duration::from_secs(60), || {
            process::accepts(s3) && made_bucket(python, s3) || !started.is_running()
        });
        assert!(up && started.is_running(), "SeaweedFS did not start:\n{}", started.written());
        Self { server: started, _folder: folder, port: s3 }
    }

    /// One for all tests of a program that run at the same time; stopped with the last of them.
    pub fn shared(python: &Python) -> Arc<Self> {
        static SHARED: Mutex<Weak<Seaweed>> = Mutex::new(Weak::new());
        // A test that failed while it started the server leaves nothing half-made behind the lock.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start(python));
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// What a program needs in its environment to use it: the names that `object_store` and the
    /// AWS SDKs share.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        environment(&self.endpoint())
    }
}

/// The same for another address of the server, as a proxy's.
pub fn environment(endpoint: &str) -> [(&'static str, String); 6] {
    [
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ENDPOINT", endpoint.to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", CREDENTIALS.0.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1.to_owned()),
    ]
}

fn server(python: &Python, data: &Path, config: &Path) -> Command {
    let mut weed = python.tool("weed");
    weed.arg("server")
        .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
        .arg(format!("-dir={}", data.display()))
        .arg(format!("-s3.config={}", config.display()))
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        // Small volumes: the default pre-allocates for a cluster.
        .args(["-master.volumeSizeLimitMB=64", "-volume.max=50"])
        .current_dir(data);
    weed
}

fn identities() -> String {
    let (key, secret) = CREDENTIALS;
    serde_json::json!({"identities": [{
        "name": "weir",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]})
    .to_string()
}

fn made_bucket(python: &Python, port: u16) -> bool {
    let mut aws = python.aws(&format!("http://127.0.0.1:{port}"));
    aws.args(["s3api", "create-bucket", "--bucket", BUCKET])
        .env("AWS_ACCESS_KEY_ID", CREDENTIALS.0)
        .env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
    process::output(&mut aws).status.success()
}
