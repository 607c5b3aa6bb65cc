# Plans the example; AWS is not asked.

run "one_group" {
  command = plan

  module {
    source = "./example"
  }

  plan_options {
    refresh = false
  }

}
