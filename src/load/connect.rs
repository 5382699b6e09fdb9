//! Opening and authenticating connections, on blocking sockets with a time limit. Invariant: what is returned is ready
//! for a query, and every way it can fail has an error of its own.

use super::LoadError;
use super::open_files;
use super::scanner::{Answer, Scanner, error_fields};
use super::tls;
use super::transport::{Socket, Transport};
use crate::connection::{Address, Endpoint, Secret, TlsMode, Verify};
use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::sync::Arc;
use std::time::Duration;

/// What all connections of a load share: the address, looked up once.
pub struct Connector {
    address: Address,
    targets: Vec<SocketAddr>,
    tls: Option<Arc<rustls::ClientConfig>>,
    limit: Duration,
}

/// An authenticated connection on a blocking socket.
pub struct Connection {
    pub transport: Transport,
    at: String,
}

/// Whether one attempt asks for TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Never,
    IfOffered,
    Required,
}

/// Why an attempt came to nothing.
struct Failure {
    error: LoadError,
    encrypted: bool,
}

impl Failure {
    /// The server, or its TLS, does not take a session of this kind and may take one of the other kind.
    fn is_of_the_kind(&self) -> bool {
        matches!(&self.error, LoadError::Tls { .. })
            || matches!(&self.error, LoadError::Refused { sqlstate, .. } if sqlstate == "28000")
    }
}

impl Connector {
    /// Looks the host up. `limit` bounds the connect, and each answer until the connection is ready.
    pub fn new(address: &Address, limit: Duration) -> Result<Self, LoadError> {
        let targets = Connector::look_up(address)?;
        let plain = address.encryption.mode == TlsMode::Disable;
        let tls = if plain { None } else { Some(tls::configure(&address.encryption, &address.at())?) };
        Ok(Connector { address: address.clone(), targets, tls, limit: address.timeout.unwrap_or(limit) })
    }

    /// The addresses of the server's host; none of a Unix socket.
    pub(super) fn look_up(address: &Address) -> Result<Vec<SocketAddr>, LoadError> {
        let Endpoint::Tcp { host, port, .. } = &address.endpoint else { return Ok(Vec::new()) };
        let failed = |cause: String| LoadError::NoAddress { host: host.clone(), cause };
        let found: Vec<_> = (host.as_str(), *port).to_socket_addrs().map_err(|e| failed(e.to_string()))?.collect();
        if found.is_empty() {
            return Err(failed("the look-up found nothing".into()));
        }
        Ok(found)
    }

    /// Connects, authenticates and waits until the server is ready for a query. Two modes of TLS have a second attempt.
    pub fn open(&self) -> Result<Connection, LoadError> {
        let (first, second) = match self.address.encryption.mode {
            TlsMode::Disable => (Ask::Never, None),
            TlsMode::Allow => (Ask::Never, Some(Ask::Required)),
            TlsMode::Prefer => (Ask::IfOffered, Some(Ask::Never)),
            TlsMode::Require => (Ask::Required, None),
        };
        let failure = match self.attempt(first) {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        // After a refusal in plain text, plain text is not tried again.
        let other = second.filter(|ask| failure.is_of_the_kind() && (*ask == Ask::Required || failure.encrypted));
        other.and_then(|ask| self.attempt(ask).ok()).ok_or(failure.error)
    }

    fn attempt(&self, ask: Ask) -> Result<Connection, Failure> {
        let plain = |error| Failure { error, encrypted: false };
        let socket = self.connect().map_err(plain)?;
        socket.set_timeout(self.limit).map_err(|cause| plain(self.broken("while it was opened", cause)))?;
        let transport = self.secure(socket, ask).map_err(|error| {
            let encrypted = matches!(error, LoadError::Tls { .. });
            Failure { error, encrypted }
        })?;
        let encrypted = transport.is_encrypted();
        let mut startup = Startup { connector: self, transport, input: BytesMut::with_capacity(1024) };
        startup.run().map_err(|error| Failure { error, encrypted })?;
        Ok(Connection { transport: startup.transport, at: self.address.at() })
    }

    fn connect(&self) -> Result<Socket, LoadError> {
        if let Some(path) = self.address.socket() {
            let stream = match path.to_str().and_then(|path| path.strip_prefix('@')) {
                Some(name) => UnixAddress::from_abstract_name(name).and_then(|name| UnixStream::connect_addr(&name)),
                None => UnixStream::connect(path),
            };
            return stream.map(Socket::Unix).map_err(|cause| self.unreachable(cause));
        }
        let mut last = None;
        for target in &self.targets {
            match TcpStream::connect_timeout(target, self.limit) {
                Ok(stream) => {
                    self.tune(&stream).map_err(|cause| self.broken("while it was opened", cause))?;
                    return Ok(Socket::Tcp(stream));
                }
                Err(cause) => last = Some(cause),
            }
        }
        Err(self.unreachable(last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into())))
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        if let Some(limit) = self.address.tcp_timeout {
            socket.set_tcp_user_timeout(Some(limit))?;
        }
        let Some(wanted) = self.address.keepalive else { return Ok(()) };
        socket.set_keepalive(true)?;
        let mut keepalive = TcpKeepalive::new();
        keepalive = wanted.idle.map_or(keepalive.clone(), |idle| keepalive.with_time(idle));
        keepalive = wanted.interval.map_or(keepalive.clone(), |interval| keepalive.with_interval(interval));
        keepalive = wanted.count.map_or(keepalive.clone(), |count| keepalive.with_retries(count));
        socket.set_tcp_keepalive(&keepalive)
    }

    fn secure(&self, mut socket: Socket, ask: Ask) -> Result<Transport, LoadError> {
        let Some(config) = self.tls.as_ref().filter(|_| ask != Ask::Never) else { return Ok(Transport::plain(socket)) };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        let mut reply = [0];
        let asked =
            io::Write::write_all(&mut socket, &request).and_then(|()| io::Read::read_exact(&mut socket, &mut reply));
        asked.map_err(|cause| self.failed("when asked for TLS", cause))?;
        let at = self.address.at();
        match reply[0] {
            b'S' => {
                let name = match &self.address.endpoint {
                    Endpoint::Tcp { name, .. } => name.as_str(),
                    Endpoint::Unix { .. } => "localhost",
                };
                let connection = tls::connection(config, name, &at)?;
                Transport::tls(socket, connection).map_err(|cause| self.tls_failed(cause))
            }
            b'N' if ask == Ask::Required => Err(LoadError::NoTls { at }),
            b'N' => Ok(Transport::plain(socket)),
            other => Err(LoadError::NotPostgres { at, got: format!("{:?} to a request for TLS", other as char) }),
        }
    }

    fn tls_failed(&self, cause: io::Error) -> LoadError {
        if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&cause.kind()) {
            return self.failed("during the TLS handshake", cause);
        }
        let remedy = match self.address.encryption.verify {
            Verify::Nothing => "use sslmode=disable if the network is safe, or mend the server's TLS",
            Verify::Authority => "give the authority's certificate as sslrootcert",
            Verify::AuthorityAndName => {
                "give the authority's certificate as sslrootcert and the host by the certificate's name, or use \
                 sslmode=verify-ca"
            }
        };
        LoadError::Tls { at: self.address.at(), cause: cause.to_string(), remedy }
    }

    fn unreachable(&self, cause: io::Error) -> LoadError {
        let at = self.address.at();
        let remedy = match cause.raw_os_error() {
            Some(libc::EMFILE) => Some(open_files::REMEDY),
            Some(libc::ENFILE) => Some("raise the host's limit of open files (sysctl fs.file-max)"),
            _ => None,
        };
        if let Some(remedy) = remedy {
            return LoadError::System { what: "a connection", cause, remedy };
        }
        match cause.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => LoadError::Closed { at, cause },
            ErrorKind::TimedOut => LoadError::Silent { at, during: "connecting", limit: self.limit },
            _ => LoadError::Unreachable { at, cause },
        }
    }

    fn broken(&self, during: &'static str, cause: io::Error) -> LoadError {
        LoadError::Broken { at: self.address.at(), during, cause }
    }

    fn failed(&self, during: &'static str, cause: io::Error) -> LoadError {
        failed(&self.address.at(), during, self.limit, cause)
    }
}

fn failed(at: &str, during: &'static str, limit: Duration, cause: io::Error) -> LoadError {
    let at = at.to_string();
    match cause.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => LoadError::Silent { at, during, limit },
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            LoadError::Hangup { at, during }
        }
        _ => LoadError::Broken { at, during, cause },
    }
}

/// The start-up conversation of one connection.
struct Startup<'a> {
    connector: &'a Connector,
    transport: Transport,
    input: BytesMut,
}

impl Startup<'_> {
    fn run(&mut self) -> Result<(), LoadError> {
        let address = &self.connector.address;
        let mut parameters = vec![("user", address.user.as_str()), ("database", address.database.as_str())];
        parameters.push(("application_name", &address.application));
        parameters.push(("client_encoding", "UTF8"));
        parameters.extend(address.options.as_deref().map(|options| ("options", options)));
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message)
            .map_err(|cause| self.connector.broken("at start-up", cause))?;
        self.send(&message)?;
        loop {
            let (tag, body) = self.next()?;
            match tag {
                b'R' => self.authenticate(&body)?,
                b'K' | b'S' | b'N' | b'v' => {}
                b'Z' => return Ok(()),
                _ => return Err(self.not_postgres("an unexpected message at start-up")),
            }
        }
    }

    /// One authentication request (PostgreSQL documentation, "Message Formats": Authentication...).
    fn authenticate(&mut self, body: &[u8]) -> Result<(), LoadError> {
        let Some((code, rest)) = body.split_first_chunk::<4>() else {
            return Err(self.not_postgres("a damaged request for authentication"));
        };
        match (u32::from_be_bytes(*code), rest) {
            (0, _) => Ok(()),
            (3, _) => {
                let password = self.password()?;
                self.send_password(password.expose())
            }
            (5, &[a, b, c, d, ..]) => {
                let password = self.password()?;
                let user = self.connector.address.user.as_bytes();
                self.send_password(md5_hash(user, password.expose(), [a, b, c, d]).as_bytes())
            }
            (10, mechanisms) => self.scram(mechanisms),
            (2, _) => Err(self.method("Kerberos")),
            (6, _) => Err(self.method("SCM credentials")),
            (7, _) => Err(self.method("GSSAPI")),
            (9, _) => Err(self.method("SSPI")),
            (other, _) => Err(self.method(&format!("method {other}"))),
        }
    }

    fn scram(&mut self, mechanisms: &[u8]) -> Result<(), LoadError> {
        let offered: Vec<_> =
            mechanisms.split(|b| *b == 0).filter(|m| !m.is_empty()).map(String::from_utf8_lossy).collect();
        if !offered.iter().any(|mechanism| mechanism == sasl::SCRAM_SHA_256) {
            return Err(self.method(&offered.join(", ")));
        }
        let password = self.password()?;
        let mut scram = sasl::ScramSha256::new(password.expose(), sasl::ChannelBinding::unsupported());
        let mut message = BytesMut::new();
        let encoded = frontend::sasl_initial_response(sasl::SCRAM_SHA_256, scram.message(), &mut message);
        encoded.map_err(|cause| self.connector.broken("at start-up", cause))?;
        self.send(&message)?;
        let challenge = self.sasl(11)?;
        scram.update(&challenge).map_err(|cause| self.scram_failed(cause))?;
        message.clear();
        let encoded = frontend::sasl_response(scram.message(), &mut message);
        encoded.map_err(|cause| self.connector.broken("at start-up", cause))?;
        self.send(&message)?;
        let verdict = self.sasl(12)?;
        scram.finish(&verdict).map_err(|cause| self.scram_failed(cause))
    }

    /// The data of the next message, which must be an authentication request of this code.
    fn sasl(&mut self, code: u32) -> Result<Bytes, LoadError> {
        let (tag, body) = self.next()?;
        if tag == b'R' && body.starts_with(&code.to_be_bytes()) {
            return Ok(body.slice(4..));
        }
        Err(self.not_postgres("no SCRAM message when one was due"))
    }

    fn scram_failed(&self, cause: io::Error) -> LoadError {
        self.wrong_password(format!("the server does not know it: {cause}"))
    }

    fn wrong_password(&self, message: String) -> LoadError {
        let address = &self.connector.address;
        LoadError::WrongPassword {
            at: address.at(),
            user: address.user.clone(),
            message,
            from: address.password_from().into(),
        }
    }

    fn password(&self) -> Result<Secret, LoadError> {
        let address = &self.connector.address;
        address.password().cloned().ok_or_else(|| {
            let (passfile, ignored) = address.passfile();
            LoadError::NoPassword { at: address.at(), user: address.user.clone(), passfile, ignored }
        })
    }

    fn method(&self, method: &str) -> LoadError {
        LoadError::Method { at: self.connector.address.at(), method: method.into() }
    }

    fn not_postgres(&self, got: &str) -> LoadError {
        LoadError::NotPostgres { at: self.connector.address.at(), got: got.into() }
    }

    fn send_password(&mut self, password: &[u8]) -> Result<(), LoadError> {
        let mut message = BytesMut::new();
        frontend::password_message(password, &mut message)
            .map_err(|cause| self.connector.broken("at start-up", cause))?;
        self.send(&message)
    }

    fn send(&mut self, message: &[u8]) -> Result<(), LoadError> {
        self.transport.write_all(message).map_err(|cause| self.connector.failed("at start-up", cause))
    }

    /// Type and body of the next message; an ErrorResponse becomes the error it means.
    fn next(&mut self) -> Result<(u8, Bytes), LoadError> {
        loop {
            self.check_header()?;
            if let Some(&[tag, a, b, c, d]) = self.input.first_chunk::<5>() {
                let end = u32::from_be_bytes([a, b, c, d]) as usize + 1;
                if self.input.len() >= end {
                    let body = self.input.split_to(end).freeze().slice(5..);
                    return if tag == b'E' { Err(self.refused(&body)) } else { Ok((tag, body)) };
                }
            }
            let mut chunk = [0; 1024];
            match self.transport.read(&mut chunk) {
                Ok(0) => return Err(self.connector.failed("at start-up", ErrorKind::UnexpectedEof.into())),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.connector.failed("at start-up", cause)),
            }
        }
    }

    /// Says that the peer is no PostgreSQL before waiting for a gigabyte that its first bytes seem to announce.
    fn check_header(&self) -> Result<(), LoadError> {
        let Some(header) = self.input.get(..5) else { return Ok(()) };
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        // Start-up messages are short; PostgreSQL's own client takes 30,000 for the bound.
        if header[0].is_ascii_alphanumeric() && (4..=30_000).contains(&length) {
            return Ok(());
        }
        let first = &self.input[..self.input.len().min(16)];
        Err(self.not_postgres(&format!("\"{}\"", first.escape_ascii())))
    }

    fn refused(&self, body: &[u8]) -> LoadError {
        let (sqlstate, message) = error_fields(body);
        let at = self.connector.address.at();
        match sqlstate.as_str() {
            "28P01" => self.wrong_password(message),
            "3D000" => LoadError::NoDatabase { at, database: self.connector.address.database.clone(), message },
            "53300" => LoadError::TooMany { at, opened: 0, wanted: 1, message },
            _ if sqlstate.starts_with("57") => LoadError::NotNow { at, sqlstate, message },
            _ => LoadError::Refused { at, sqlstate, message },
        }
    }
}

impl Connection {
    /// Sends a message that the server answers with ReadyForQuery, and reads the answer. An ErrorResponse is
    /// returned as SQLSTATE and message.
    pub fn round_trip(&mut self, message: &[u8], limit: Duration) -> Result<Result<u32, (String, String)>, LoadError> {
        self.exchange(message, limit, &mut |_| {})
    }

    /// As [`Connection::round_trip`], and returns the answer's bytes.
    pub fn ask(&mut self, message: &[u8], limit: Duration) -> Result<Result<Vec<u8>, (String, String)>, LoadError> {
        let mut bytes = Vec::new();
        let rows = self.exchange(message, limit, &mut |read| bytes.extend_from_slice(read))?;
        Ok(rows.map(|_| bytes))
    }

    fn exchange(
        &mut self,
        message: &[u8],
        limit: Duration,
        keep: &mut dyn FnMut(&[u8]),
    ) -> Result<Result<u32, (String, String)>, LoadError> {
        let fail = |at: &str, cause| failed(at, "while it ran a statement", limit, cause);
        let at = self.at.clone();
        self.transport.socket.set_timeout(limit).map_err(|cause| fail(&at, cause))?;
        self.transport.write_all(message).map_err(|cause| fail(&at, cause))?;
        let (mut scanner, mut answer, mut chunk) = (Scanner::default(), Answer::default(), [0; 8192]);
        loop {
            let read = match self.transport.read(&mut chunk) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                read => read,
            };
            let n = match (read, &answer.error) {
                (Ok(n), _) => n,
                (Err(_), Some(body)) => return Ok(Err(error_fields(body))),
                (Err(cause), None) => return Err(fail(&at, cause)),
            };
            keep(&chunk[..n]);
            let scanned = scanner.scan(&chunk[..n], &mut answer);
            let ready = scanned.map_err(|cause| fail(&at, io::Error::new(ErrorKind::InvalidData, cause)))?;
            if ready.is_some() {
                return Ok(match &answer.error {
                    Some(body) => Err(error_fields(body)),
                    None => Ok(answer.rows),
                });
            }
        }
    }

    /// Ends the session; the server is told, and an error of the telling does not matter any more.
    pub fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let _ = self.transport.write_all(&message);
    }
}
