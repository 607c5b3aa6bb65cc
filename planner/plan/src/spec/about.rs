//! What each attribute and block is for, in a sentence.
//!
//! Only descriptions; which attributes there are, their types and their limits come from the code that reads them.
//! Invariant: one row for each path that a reader asks for; a test compares.

/// Path and description.
pub(super) const ABOUT: &[(&str, &str)] = &[
    ("bucket.host", "The host whose agent serves the bucket."),
    (
        "bucket.name",
        "The bucket's name for S3 clients; the label, in lower case and with hyphens, unless given.",
    ),
    ("bucket.path", "The folder whose files are the objects; it has to be there."),
    ("bucket.port", "The port where it answers; given by the planner unless the spec says one."),
    (
        "cluster.data_compression_type",
        "Whether object targets compress what is written from now on; FSx's field.",
    ),
    ("cluster.deployment_type", "FSx's deployment type; what is written once is kept once."),
    ("cluster.engine", "How targets are realised: `userspace` targets are processes of our agents."),
    (
        "cluster.fs_name",
        "The file system's name, at most 8 letters and digits; also its mount name. The label unless given.",
    ),
    (
        "cluster.layout",
        "How new files are striped, unless a directory says otherwise; FSx's default layout without it.",
    ),
    ("cluster.layout.component", "The stripes of a part of each file; parts follow each other."),
    (
        "cluster.layout.component.end",
        "The first byte behind the part, as a size; the last component has none.",
    ),
    (
        "cluster.layout.component.stripe_count",
        "Over how many object targets the part is striped; -1 for all.",
    ),
    ("cluster.layout.component.stripe_size", "Bytes in a stripe unit, as a size: a multiple of 64KiB."),
    ("cluster.metadata", "Where the metadata target is."),
    ("cluster.metadata.host", "The host of the metadata target."),
    ("cluster.metadata.path", "The folder that the metadata target's own folder is made in."),
    ("cluster.storage", "Where the object targets are, and how many."),
    (
        "cluster.storage.hosts",
        "The hosts of object targets: one host, or all instances of a `for_each` or `count`.",
    ),
    ("cluster.storage.path", "The folder on each host that object targets' own folders are made in."),
    (
        "cluster.storage.target_capacity",
        "Most bytes of each object target, as a size: a limit, not a reservation.",
    ),
    (
        "cluster.storage.targets_per_host",
        "How many object targets each host has; it may grow while files are in use.",
    ),
    (
        "cluster.storage_capacity",
        "Most GiB of all object targets together, as FSx counts; or `target_capacity`, never both.",
    ),
    ("cluster.storage_type", "What the disks are; it is recorded and changes nothing."),
    (
        "data_repository_association.batch_import_meta_data_on_create",
        "Whether all names are imported when the link is made; FSx's field.",
    ),
    ("data_repository_association.cluster", "The cluster whose directory is linked."),
    ("data_repository_association.data_repository_path", "The bucket and prefix, as s3://bucket/prefix."),
    (
        "data_repository_association.delete_data_in_filesystem",
        "Whether the directory's files go with the link; FSx's field of the delete call.",
    ),
    ("data_repository_association.file_system_path", "The directory of the file system, such as /data."),
    (
        "data_repository_association.imported_file_chunk_size",
        "MiB of an imported file on each object target; FSx's field.",
    ),
    ("data_repository_association.s3", "How the bucket is reached, and which changes travel."),
    ("data_repository_association.s3.auto_export_policy", "Which changes of files are exported."),
    ("data_repository_association.s3.auto_export_policy.events", "NEW, CHANGED, DELETED."),
    (
        "data_repository_association.s3.auto_import_policy",
        "Which changes of objects are imported, by listing the bucket again.",
    ),
    ("data_repository_association.s3.auto_import_policy.events", "NEW, CHANGED, DELETED."),
    (
        "data_repository_association.s3.credentials_file",
        "A file of keys in AWS's shared format, on the host that moves the data; the SDK's chain without it.",
    ),
    ("data_repository_association.s3.endpoint_url", "Where the store answers, when it is not AWS."),
    (
        "data_repository_association.s3.path_style",
        "Whether the bucket is named in the path of requests; true where an endpoint is given.",
    ),
    ("data_repository_association.s3.region", "The region of the bucket."),
    ("host.address", "Where other hosts reach it: an IPv4 address or a DNS name."),
    (
        "host.connection",
        "How it is reached: `local` is this machine, and what is meant unless `user` or `ssh` is given; then it is `ssh`.",
    ),
    ("host.control_port", "The port of its agent."),
    ("host.path", "The folder that the agent keeps its own files in."),
    ("host.port_range", "The ports of its processes, as \"7018-7117\"."),
    ("host.ssh", "How to log in, and which key the host has to have; every attribute is optional."),
    ("host.ssh.agent", "Whether the keys of the SSH agent at SSH_AUTH_SOCK are tried."),
    (
        "host.ssh.host_key",
        "The public key that the host must have, as \"ssh-ed25519 AAAA…\"; looked up in known_hosts without it.",
    ),
    (
        "host.ssh.identity_file",
        "A private key on the machine that plans; ~/.ssh/id_ed25519 and ~/.ssh/id_ecdsa without it.",
    ),
    (
        "host.ssh.jump",
        "A host through which this one is reached; the machine that plans still has to reach `control_port`.",
    ),
    ("host.ssh.jump.address", "Where the host on the way is."),
    ("host.ssh.jump.host_key", "The public key that the host on the way must have."),
    (
        "host.ssh.jump.identity_file",
        "A private key for the host on the way; that of the `ssh` block without it.",
    ),
    ("host.ssh.jump.port", "Where the SSH server of the host on the way listens."),
    ("host.ssh.jump.user", "Who logs in to the host on the way; root unless given."),
    (
        "host.ssh.known_hosts_file",
        "Where host keys are looked up; ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts without it.",
    ),
    ("host.ssh.port", "Where the SSH server of the host listens."),
    ("host.user", "Who logs in over SSH; root unless given. Anyone else needs sudo without a password."),
    ("mount.cluster", "The cluster that is mounted."),
    ("mount.host", "The host where it is mounted."),
    ("mount.options", "Options of the mount, as mount(8) has them."),
    ("mount.path", "Where it is mounted: an empty folder, or one that is made."),
    ("security_group.description", "What the group is for; AWS cannot change it later."),
    (
        "security_group.egress",
        "What may go out; the blocks are all the rules there are, so without one nothing may.",
    ),
    ("security_group.egress.cidr_blocks", "Ranges of IPv4 addresses, as [\"10.0.0.0/16\"]."),
    ("security_group.egress.description", "What the rule is for."),
    ("security_group.egress.from_port", "The first port, or the type of ICMP."),
    ("security_group.egress.ipv6_cidr_blocks", "Ranges of IPv6 addresses."),
    ("security_group.egress.prefix_list_ids", "Lists of addresses that AWS keeps, as [\"pl-…\"]."),
    ("security_group.egress.protocol", "tcp, udp, icmp, icmpv6, -1 for all, or a number."),
    ("security_group.egress.security_groups", "Ids of other groups whose members are at the other end."),
    ("security_group.egress.self", "Whether members of the group itself are at the other end."),
    ("security_group.egress.to_port", "The last port, or the code of ICMP."),
    ("security_group.ingress", "What may come in; the blocks are all the rules there are."),
    ("security_group.ingress.cidr_blocks", "Ranges of IPv4 addresses, as [\"10.0.0.0/16\"]."),
    ("security_group.ingress.description", "What the rule is for."),
    ("security_group.ingress.from_port", "The first port, or the type of ICMP."),
    ("security_group.ingress.ipv6_cidr_blocks", "Ranges of IPv6 addresses."),
    ("security_group.ingress.prefix_list_ids", "Lists of addresses that AWS keeps, as [\"pl-…\"]."),
    ("security_group.ingress.protocol", "tcp, udp, icmp, icmpv6, -1 for all, or a number."),
    ("security_group.ingress.security_groups", "Ids of other groups whose members are at the other end."),
    ("security_group.ingress.self", "Whether members of the group itself are at the other end."),
    ("security_group.ingress.to_port", "The last port, or the code of ICMP."),
    ("security_group.name", "Its name, the only one in its VPC; the label, with hyphens, unless given."),
    ("security_group.provider", "The provider it is made through, as `aws.ALIAS`; `aws` unless given."),
    ("security_group.tags", "Its tags; those of the provider's `default_tags` are added."),
    ("security_group.vpc_id", "Its VPC; the region's default one unless given."),
    ("value.input", "Any value; `output` is the same after apply."),
    ("value.triggers_replace", "Any value; when it changes, the resource is made anew."),
];

/// Returns the description of a path; empty when there is none, which a test excludes.
pub(super) fn about(path: &str) -> &'static str {
    ABOUT.iter().find(|(known, _)| *known == path).map_or("", |(_, about)| about)
}
