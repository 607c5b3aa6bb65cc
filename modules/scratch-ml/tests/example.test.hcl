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
    condition     = output.mount == "/srv/test/mnt"
    error_message = "The file system is mounted at ${output.mount}."
  }

  assert {
    condition     = module.training.fs_name == "scratch"
    error_message = "The file system is called ${module.training.fs_name}."
  }
}
