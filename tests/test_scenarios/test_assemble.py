"""From what processes wrote to tables."""

from scenarios.assemble import read_lines


def test_a_line_that_a_kill_tore_hides_none_of_those_that_the_next_process_wrote(tmp_path):
    path = tmp_path / "deployer.jsonl"
    path.write_text('{"t_s": 1}\n{"t_s": 2, "act\n{"t_s": 3}\n')
    assert read_lines(path) == [{"t_s": 1}, {"t_s": 3}]


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert read_lines(tmp_path / "none.jsonl") == []
