//! The SDK's client as we set it up: region, profile, role, endpoints, time limits.
//!
//! Sends nothing by itself; credentials are looked for by the SDK when the first call is made.
//! Invariant: every call ends, and is sent once.

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use lustre_model::resource::AwsAccess;

/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What the session of an assumed role is called in CloudTrail.
const SESSION: &str = "lustre";

/// Sets a client up.
pub async fn client(access: &AwsAccess) -> Client {
    let https =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut chain = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(access.region.clone()))
        .http_client(https)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build(),
        );
    if let Some(profile) = &access.profile {
        chain = chain.profile_name(profile);
    }
    let chain = chain.load().await;
    let mut config = Builder::from(&chain);
    if let Some(role) = &access.role_arn {
        config = config.credentials_provider(assumed(access, role, chain).await);
    }
    if let Some(url) = &access.ec2_endpoint {
        config = config.endpoint_url(url);
    }
    Client::from_conf(config.build())
}

/// Returns what gives the keys of a role.
async fn assumed(access: &AwsAccess, role: &str, chain: SdkConfig) -> AssumeRoleProvider {
    let chain = match &access.sts_endpoint {
        Some(url) => chain.into_builder().endpoint_url(url).build(),
        None => chain,
    };
    let mut provider = AssumeRoleProvider::builder(role).session_name(SESSION).configure(&chain);
    if let Some(id) = &access.external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}
