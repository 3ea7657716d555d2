//! Replaces a container: it answers each request with what it received, and echoes data after an
//! upgrade.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Listens until the process ends; its threads block on sockets that tests close.
#[derive(Clone)]
pub struct Upstream {
    received: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub fn listen(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let upstream = Self { received: Arc::default() };
        let received = upstream.received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = received.clone();
                std::thread::spawn(move || {
                    // A connection that breaks ends here.
                    let _ = serve(&stream, &received);
                });
            }
        });
        upstream
    }

    /// The requests received so far: request line and headers.
    pub fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, received: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        received.lock().unwrap().push(head.clone());
        if header(&head, "upgrade").is_some() {
            writer.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            )?;
            let mut buffer = [0; 1024];
            loop {
                let length = reader.read(&mut buffer)?;
                if length == 0 {
                    return Ok(());
                }
                writer.write_all(&buffer[..length])?;
            }
        }
        let body = body(&mut reader, &head)?;
        let extra = if head.starts_with("GET /set-cookies ") {
            "Set-Cookie: __Host-startclaw=evil; Path=/; Secure\r\n\
             Set-Cookie:  __host-StartClaw=evil\r\n\
             Set-Cookie: tossed=1; Domain=localhost; Path=/\r\n\
             Set-Cookie: own=1; Path=/\r\n\
             Clear-Site-Data: \"cookies\"\r\n\
             Alt-Svc: h3=\":1\"\r\n"
        } else {
            ""
        };
        let text = format!("{head}{} bytes", body.len());
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{extra}Content-Length: {}\r\n\r\n{text}",
            text.len()
        );
        writer.write_all(answer.as_bytes())?;
    }
}

fn body(reader: &mut impl BufRead, head: &str) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if header(head, "transfer-encoding") != Some("chunked") {
        let length = header(head, "content-length").map_or(0, |l| l.parse().unwrap());
        reader.take(length).read_to_end(&mut body)?;
        return Ok(body);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap();
        reader.take(size).read_to_end(&mut body)?;
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// The first header of this name in a request's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
