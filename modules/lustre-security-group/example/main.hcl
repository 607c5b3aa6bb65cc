# Servers and clients in one VPC; the agents of the userspace engine listen on ports of their own.

provider "aws" {
  region = "eu-central-1"
}

module "lustre" {
  source             = "../"
  vpc_id             = "vpc-0123456789abcdef0"
  client_cidr_blocks = ["10.0.0.0/16"]
  ports              = [[7018, 7117], [7988, 7988]]
}

output "id" {
  value = module.lustre.id
}
