/** A command of signalbox in this process, which is quicker than a process of its own. */
import { Readable } from 'node:stream'
import type { Parts } from '../../src/cli/parts.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import type { Ended } from './child.ts'
import { toyRegistry } from './toy-registry.ts'

/** `parts` are those that matter; the registry is the toy one, and nothing is typed. */
export async function commandLine(
  line: readonly string[],
  parts: Partial<Parts> & Pick<Parts, 'folder'>,
): Promise<Ended> {
  let [out, error] = ['', '']
  const code = await runCommandLine(line, {
    loadRegistry: () => Promise.resolve(toyRegistry),
    output: { out: (text) => (out += `${text}\n`), error: (text) => (error += `${text}\n`) },
    environment: {},
    version: '1.2.3',
    input: Readable.from([]),
    pretty: false,
    hashPassword: (password) => Promise.resolve(`hash-of-${password.length}`),
    ...parts,
  })
  return { code, out, error }
}
