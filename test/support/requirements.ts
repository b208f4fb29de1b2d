/** Tests that need a program beyond Node: they run where it is installed, and say by name where it is not. */
import { describe, test } from '@jest/globals'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'

type Describe = (title: string, body: () => void) => void
type Test = (title: string, body: () => void | Promise<void>, timeout?: number) => void

export interface Requirement {
  /** Jest's, or one that skips, or, where nothing may be skipped, one that fails. */
  readonly describe: Describe
  readonly test: Test
  /** The names of the programs that are not there. */
  readonly missing: readonly string[]
}

/** Where a program stands on the PATH; the first of several names that is there. */
export function findProgram(...names: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '')
  return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find(isExecutable)
}

/**
 * `requires('mosquitto_pub', 'swaks')` gives `describe` and `test` for tests that start these programs;
 * `requires('chromium|google-chrome')` takes the first of several names.
 * `SIGNALBOX_REQUIRE_TOOLS=1` turns a test that would be skipped into one that fails.
 */
export function requires(...programs: readonly string[]): Requirement {
  const missing = programs.filter((names) => findProgram(...names.split('|')) === undefined)
  if (missing.length === 0) return { describe, test, missing }

  const reason = `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} not installed`
  if (process.env['SIGNALBOX_REQUIRE_TOOLS'] === '1') {
    const refuse = () => {
      throw new Error(`${reason}, and SIGNALBOX_REQUIRE_TOOLS=1 allows no test to be skipped`)
    }
    const group: Describe = (title) => {
      describe(title, () => {
        test(reason, refuse)
      })
    }
    return { describe: group, test: (title) => test(title, refuse), missing }
  }
  return { ...skipping(reason), missing }
}

/** For a test that needs what no program gives, such as the right to mount a disk: where it is not, the test says so by name. */
export function where(isGiven: boolean, reason: string): Pick<Requirement, 'test'> {
  return isGiven ? { test } : skipping(reason)
}

function skipping(reason: string): Pick<Requirement, 'describe' | 'test'> {
  const titled = (title: string) => `${title} [skipped: ${reason}]`
  /* oxlint-disable jest/no-disabled-tests, jest/valid-describe-callback -- the one place that skips, and it says why */
  return {
    describe: (title, body) => describe.skip(titled(title), body),
    test: (title, body) => test.skip(titled(title), body),
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
