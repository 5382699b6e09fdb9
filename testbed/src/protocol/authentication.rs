//! Who may connect. Invariant: the password is compared and forgotten; no error and no log contains it.

use std::fmt::Debug;

use futures::{Sink, SinkExt};
use pgwire::api::auth::md5pass::hash_md5_password;
use pgwire::api::{ClientInfo, METADATA_USER};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication as Request;

use super::Port;
use crate::options::Authentication;

/// What the client must send back.
pub struct Challenge {
    expected: String,
}

impl Challenge {
    /// Asks for the password; `None` if the port trusts everybody.
    pub async fn send<C>(client: &mut C, port: &Port) -> PgWireResult<Option<Self>>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some(password) = port.password.as_deref() else { return Ok(None) };
        let (request, expected) = match port.authentication {
            Authentication::Trust => return Ok(None),
            Authentication::Password => (Request::CleartextPassword, password.to_owned()),
            Authentication::Md5 => {
                let salt: [u8; 4] = rand::random();
                let user = user(client);
                (Request::MD5Password(salt.to_vec()), hash_md5_password(&user, password, &salt))
            }
        };
        client.send(PgWireBackendMessage::Authentication(request)).await?;
        Ok(Some(Challenge { expected }))
    }

    pub fn check<C: ClientInfo>(&self, client: &C, answer: &str) -> PgWireResult<()> {
        if answer == self.expected { Ok(()) } else { Err(PgWireError::InvalidPassword(user(client))) }
    }
}

/// The user of the startup message.
pub fn user<C: ClientInfo>(client: &C) -> String {
    client.metadata().get(METADATA_USER).cloned().unwrap_or_default()
}
