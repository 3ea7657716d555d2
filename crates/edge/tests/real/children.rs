//! Programs that a test starts; they end with it.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use startclaw_testkit::until_blocking;

/// A program that is killed when it goes out of scope, also when the test panics.
pub struct Program(Child);

impl Program {
    /// Starts it; its output goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} starts: {e}"));
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that the kernel kills when the thread that started it ends, so that even a killed test
/// leaves none behind.
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Waits until a port accepts connections.
pub fn listens(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until_blocking(&format!("something listens at {address}"), || {
        TcpStream::connect(address).is_ok()
    });
}
