import pytest

from tfx_pipeline import beam_arguments


@pytest.mark.parametrize(("text", "flags"), [
    ("", []),
    ("--direct_running_mode=multi_processing --direct_num_workers=2",
     ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]),
    ("""--environment_config='{"command": "boot"}' --runner=PortableRunner""",
     ['--environment_config={"command": "boot"}', "--runner=PortableRunner"]),
    ("--runner=FlinkRunner --checkpointing_interval=60000", ["--runner=FlinkRunner", "--checkpointing_interval=60000"]),
])
def test_the_string_is_split_as_a_shell_would(text, flags):
    assert beam_arguments.parse(text) == flags


@pytest.mark.parametrize(("text", "message"), [
    ("--runner='DirectRunner", "must be quoted as for a shell.*No closing quotation"),
    ("--runner DirectRunner", "takes flags written --flag or --flag=value, got 'DirectRunner'"),
    ("direct_num_workers=2", "takes flags written --flag or --flag=value, got 'direct_num_workers=2'"),
    ("--direct_running_mode=threads", r"must hold values that Beam takes, got: argument --direct_running_mode: invalid "
                                      "choice: 'threads'"),
    ("--direct_num_workers=two --direct_running_mode=multi_processing",
     "must hold values that Beam takes, got: argument --direct_num_workers: invalid int value: 'two'"),
    ("--runner=SomeRunner", "must name a runner out of DirectRunner, .*got --runner=SomeRunner"),
    ("--number_workers=3", "must hold flags that DirectRunner knows, got --number_workers"),
    ("--streaming", "must describe a batch job, got --streaming"),
    ("--direct_num_workers=2", "got only --direct_num_workers=2. Add --direct_running_mode=multi_processing"),
    ("--runner=DataflowRunner --project=shop", "must hold --project, --region, --temp_location, got no --region, "
                                               "--temp_location"),
])
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValueError, match=f"--beam_pipeline_args .*{message}"):
        beam_arguments.parse(text)
