# SPDX-License-Identifier: Apache-2.0
"""`samtok doctor`: says what is missing on this machine, and for a model, and what to do."""

import argparse
import dataclasses
import json
import textwrap

_SIGNS = {'ok': 'ok', 'note': 'note', 'problem': 'PROBLEM'}
_SIGN_WIDTH, _TOPIC_WIDTH, _LINE_WIDTH = 9, 16, 100


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'doctor', help='say what is missing here, and what to do',
        description='Look at Python, torch, GPUs, ONNX Runtime, ROS 2, OpenGL, memory and disk, '
        'and, when a model is named, at its files and at the memory that it needs. Exit status 1 '
        'when there is a problem; notes are about things that only some uses need.')
    parser.add_argument('model', nargs='?', metavar='MODEL',
                        help="'tabletop', a directory, or OWNER/NAME that was fetched")
    parser.add_argument('--json', action='store_true', help='print findings and facts as JSON')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look, print, and return 1 when there is a problem."""
    from samtok_ros.doctor.facts import collect_facts
    from samtok_ros.doctor.findings import machine_findings

    facts = collect_facts()
    findings = machine_findings(facts)
    if arguments.model is not None:
        findings += _model_findings(arguments.model, facts)
    problems = sum(finding.level == 'problem' for finding in findings)
    if arguments.json:
        print(json.dumps({'problems': problems,
                          'findings': [dataclasses.asdict(finding) for finding in findings],
                          'facts': dataclasses.asdict(facts)}, indent=2))
    else:
        for finding in findings:
            print(_line(finding))
        print(f'\n{problems} problem{"" if problems == 1 else "s"}' if problems
              else '\nno problems')
    return 1 if problems else 0


def _model_findings(model: str, facts) -> list:
    """Judge one model; a model that is not there is a finding like any other."""
    from samtok_ros.doctor.findings import problem_of
    from samtok_ros.doctor.memory import memory_finding
    from samtok_ros.doctor.model_files import inspect_model
    from samtok_ros.errors import SamtokError
    from samtok_ros.model_directory import resolve_model

    try:
        model_dir = resolve_model(model)
    except (SamtokError, OSError) as error:
        return [problem_of('model', error)]
    findings, files = inspect_model(model_dir)
    if files is None:
        return findings
    if not facts.probed['torch'].error:
        # What can be run is told by modules that need torch, which works here.
        from samtok_ros.language.families import check_model_type

        try:
            check_model_type(files.config.get('model_type') or '')
        except SamtokError as error:
            findings.append(problem_of('family', error))
    return [*findings, memory_finding(files, facts)]


def _line(finding) -> str:
    """Return one finding, its way out below it."""
    indent = ' ' * (_SIGN_WIDTH + _TOPIC_WIDTH)
    head = f'{_SIGNS[finding.level]:<{_SIGN_WIDTH}}{finding.topic:<{_TOPIC_WIDTH}}'
    lines = textwrap.wrap(finding.text, _LINE_WIDTH, initial_indent=head, subsequent_indent=indent,
                          break_long_words=False, break_on_hyphens=False)
    if finding.fix:
        lines += textwrap.wrap(finding.fix, _LINE_WIDTH, initial_indent=f'{indent}-> ',
                               subsequent_indent=f'{indent}   ', break_long_words=False,
                               break_on_hyphens=False)
    return '\n'.join(lines)
