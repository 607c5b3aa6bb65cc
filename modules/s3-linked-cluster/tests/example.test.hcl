# Plans the example; no host is asked.

run "one_machine" {
  command = plan

  module {
    source = "./example"
  }

  variables {
    root = "/srv/test"
  }

  plan_options {
    refresh = false
  }

  assert {
    condition     = output.data == "/srv/test/mnt/data"
    error_message = "The bucket's objects are files in ${output.data}."
  }

  assert {
    condition     = module.linked.links["data"].file_system_path == "/data"
    error_message = "The link's directory is ${module.linked.links["data"].file_system_path}."
  }
}
