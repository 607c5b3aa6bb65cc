//! Calls with patience: what may pass is tried again, with pauses that grow, are bounded and shown; what stays wrong gets a remedy.
//!
//! Not which calls are made. The SDK's own retries are off, for nobody would see them.
//! Invariant: a call is sent at most `max_retries` + 1 times, and a wait ends at its limit.

use std::sync::Arc;
use std::time::Duration;

use lustre_apply::Tell;
use lustre_apply::cloud::CloudError;
use lustre_apply::event::What;
use lustre_model::resource::AwsAccess;

use crate::ec2::{Answer, Ec2, Passing, Refusal};

/// How long is waited between looks.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Behind a first call that may work soon; doubled for each further one.
    pub first: Duration,
    /// At most.
    pub most: Duration,
    /// Between two looks at something that is waited for.
    pub look: Duration,
    /// How many looks at what AWS's views lag behind with.
    pub lag_looks: u32,
    /// How many looks at what takes its time.
    pub long_looks: u32,
}

impl Pace {
    /// AWS's own: views lag by seconds, and what is detached takes minutes.
    pub const REAL: Self = Self {
        first: Duration::from_millis(500),
        most: Duration::from_secs(20),
        look: Duration::from_secs(2),
        lag_looks: 30,
        long_looks: 300,
    };
}

/// Calls EC2 of a region.
pub struct Caller {
    ec2: Arc<dyn Ec2>,
    /// The region, for messages.
    pub region: String,
    retries: u32,
    /// How long is waited.
    pub pace: Pace,
    tell: Option<Tell>,
}

impl Caller {
    /// Calls this one, as the access says.
    pub fn new(ec2: Arc<dyn Ec2>, access: &AwsAccess, pace: Pace) -> Self {
        Self { ec2, region: access.region.clone(), retries: access.max_retries, pace, tell: None }
    }

    /// Shows what goes on.
    pub fn telling(self, tell: Tell) -> Self {
        Self { tell: Some(tell), ..self }
    }

    /// Says how far something is.
    pub fn progress(&self, what: &str, done: u64) {
        self.tell.iter().for_each(|tell| tell.progress(what, done, None));
    }

    /// Makes a call until it works, never will, or was sent too often.
    pub async fn call<'a, T>(
        &'a self,
        mut call: impl FnMut(&'a dyn Ec2) -> Answer<'a, T>,
    ) -> Result<T, Refusal> {
        let mut pause = self.pace.first;
        for _ in 0..self.retries {
            match call(self.ec2.as_ref()).await {
                Err(refusal) if refusal.passing == Passing::Soon => {
                    let cause = format!("{}: {}: {}", refusal.call, refusal.code, refusal.message);
                    self.tell
                        .iter()
                        .for_each(|tell| tell.say(What::Retrying { cause: cause.clone(), pause }));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.pace.most);
                }
                ended => return ended,
            }
        }
        call(self.ec2.as_ref()).await
    }

    /// Returns the ARN of something of EC2.
    pub fn arn(&self, owner: &str, what: &str) -> String {
        let partition = match self.region.split('-').take(2).collect::<Vec<_>>().as_slice() {
            ["cn", _] => "aws-cn",
            ["us", "gov"] => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:ec2:{}:{owner}:{what}", self.region)
    }

    /// Returns how many seconds so many looks take.
    pub fn seconds(&self, looks: u32) -> u64 {
        (self.pace.look * looks).as_secs()
    }
}

impl From<Refusal> for CloudError {
    fn from(refusal: Refusal) -> Self {
        let remedy = remedy(&refusal);
        let Refusal { call, what, code, message, .. } = refusal;
        Self::Call { call, what, code, message, remedy }
    }
}

/// Returns what a person can do about a refusal.
fn remedy(refusal: &Refusal) -> Option<String> {
    let call = refusal.call;
    let text = match refusal.code.as_str() {
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            return Some(format!(
                "allow the credentials to call ec2:{call}, or say another `profile` or `assume_role` in the provider"
            ));
        }
        "AuthFailure" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "UnrecognizedClientException" => {
            "AWS does not know these credentials, or this machine's clock is wrong: `aws sts get-caller-identity` shows who they are"
        }
        "RequestExpired" | "ExpiredToken" | "ExpiredTokenException" => {
            "the credentials have expired: sign in again"
        }
        "NoCredentials" => {
            "give this machine credentials as for AWS's own tools: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, or a role"
        }
        "Unreachable" => "look at the network, the region and the provider's `endpoints`",
        "OptInRequired" => {
            "the account has not enabled this region: enable it in the AWS console, or say another"
        }
        "VPCIdNotSpecified" | "DefaultVpcDoesNotExist" | "MissingDefaultVpc" => {
            "the region has no default VPC: say `vpc_id`"
        }
        "InvalidVpcID.NotFound" | "InvalidVpcId.Malformed" => {
            "say the `vpc_id` of a VPC of this region and account"
        }
        "InvalidGroup.NotFound" | "InvalidGroupId.Malformed" => {
            "say the id of a group of this region and account; `lustre plan` shows which of the recorded ones are gone"
        }
        "SecurityGroupLimitExceeded"
        | "RulesPerSecurityGroupLimitExceeded"
        | "SecurityGroupsPerInterfaceLimitExceeded" => {
            "ask AWS for a higher quota (Service Quotas, Amazon VPC), or use fewer"
        }
        "DependencyViolation" => {
            "something that this state does not destroy still uses it: in the EC2 console its network interfaces and the rules that name it show what"
        }
        "InsufficientInstanceCapacity" | "InsufficientHostCapacity" => {
            "AWS has no such machine free there: try another `instance_type`, or a subnet of another zone"
        }
        "VcpuLimitExceeded" | "InstanceLimitExceeded" | "MaxSpotInstanceCountExceeded" => {
            "ask AWS for a higher quota (Service Quotas, Amazon EC2), or launch fewer"
        }
        "SpotMaxPriceTooLow" => "raise `max_price`, or leave it out: the price on demand is the most then",
        "InvalidAMIID.NotFound" | "InvalidAMIID.Malformed" | "InvalidAMIID.Unavailable" => {
            "say the `ami` of an image of this region that this account may use; images have another id in each region"
        }
        "InvalidSubnetID.NotFound" => "say the `subnet_id` of a subnet of this region and account",
        "InvalidKeyPair.NotFound" => {
            "say the `key_name` of a key pair of this region, or give `ssh_authorized_keys`"
        }
        "InvalidPlacementGroup.Unknown" => "make the placement group first, or leave `placement_group` out",
        "Unsupported" => "the type is not offered in that zone, or not with these volumes: say another",
        "OperationNotPermitted" => {
            "it is protected: the spec must take the protection away first, and apply that"
        }
        _ if refusal.passing == Passing::Soon => {
            "it was tried as often as the provider's `max_retries` says: apply again, with a lower -parallelism if AWS throttles"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
