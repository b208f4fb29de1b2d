/** `signalbox mqtt-password`: what the YAML keeps instead of a password. */
import { Writable } from 'node:stream'
import type { Command } from 'commander'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

/** Far more than a password has: what comes after it is a mistake. */
const longest = 1024

export function defineMqttPassword(command: Command, parts: Parts, run: Run): void {
  command
    .description(
      'Reads a password from standard input, up to the end of the line, and prints the hash to put into the YAML.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  npx signalbox mqtt-password\n  printf \'%s\' "$PASSWORD" | npx signalbox mqtt-password',
    )
    .action(() => run(hash(parts)))
}

async function hash(parts: Parts): Promise<ExitCode> {
  const { input, output } = parts
  if (input.isTTY) output.error('the password, and return (it is not shown):')
  const password = await (input.isTTY ? typedLine(input) : firstLine(input))
  if (password === '' || password.length > longest) {
    output.error(
      `found ${password === '' ? 'an empty line' : 'a line that is too long'} on standard input, expected a password`,
    )
    return exitCodes.usage
  }
  output.out(await parts.hashPassword(password))
  return exitCodes.ok
}

/** What a person types, which nobody who looks on is to read; empty when it is broken off. */
async function typedLine(input: Parts['input']): Promise<string> {
  const { createInterface } = await import('node:readline')
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: nowhere, terminal: true })
  try {
    return await new Promise<string>((resolve) => {
      lines.once('line', resolve)
      lines.once('close', () => resolve(''))
    })
  } finally {
    lines.close()
  }
}

async function firstLine(input: Parts['input']): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of input) {
    chunks.push(Buffer.from(chunk))
    length += chunk.length
    if (length > longest * 4 || chunk.includes('\n')) break
  }
  return Buffer.concat(chunks).toString('utf8').split(/\r?\n/, 1)[0] ?? ''
}
