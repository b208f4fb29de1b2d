/** `signalbox init`: writes a first YAML and a first handler. */
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { reason } from '../runtime/errors.ts'
import { makeFolder } from '../runtime/make-folder.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

const yaml = `# What signalbox serves. \`npx signalbox check\` finds the mistakes in it, \`npx signalbox routes\` shows where its rules lead,
# and \`npx signalbox schema\` prints every setting there is, for your editor.

# Where to listen, by protocol: http, websocket, mqtt, email, sms.
listen:
  http: { address: 127.0.0.1:8000 }

# Which handler gets what. The first rule that matches wins; a handler is FILE#EXPORT, beside this file.
application:
  ProtocolTypeRouter:
    http:
      URLRouter:
        - { path: "/hello/:name", app: ./handlers.mjs#hello }
        # A regular expression on the path without its leading slash: this one takes all that is left.
        - { url: "^", app: ./handlers.mjs#hello }

# Where events are kept until they are handled; the default.
# data: ./data
`

const handlers = `/** Handlers of this gateway. Node loads them as they are, from JavaScript or TypeScript whose types can be stripped. */

/** Every application has this form, on every protocol. With signalbox among your packages there are shorter ones, such as
 *  \`httpHandler(({ params }) => ({ body: params.name }))\` of 'signalbox'. */
export async function hello(scope, receive, send, context) {
  const name = scope.params.name ?? 'world'
  context.log.info({ name }, 'somebody is greeted')
  await send({ type: 'http.response.start', status: 200, headers: [['content-type', 'text/plain;charset=UTF-8']] })
  await send({ type: 'http.response.body', body: \`Hello, \${name}\\n\` })
}
`

const files = [
  ['gateway.yaml', yaml],
  ['handlers.mjs', handlers],
] as const

export function defineInit(command: Command, parts: Parts, run: Run): void {
  command
    .description(`Writes a first ${files.map(([name]) => name).join(' and ')}. Overwrites nothing.`)
    .argument('[folder]', 'where (default: here)')
    .addHelpText('after', '\nExamples:\n  npx signalbox init\n  npx signalbox init my-gateway')
    .action((folder: string | undefined) => run(init(parts, folder ?? '')))
}

async function init({ folder: here, output }: Parts, named: string): Promise<ExitCode> {
  const folder = path.resolve(here, named)
  const shown = (name: string) => path.join(named, name)
  const there = files.filter(([name]) => existsSync(path.join(folder, name))).map(([name]) => shown(name))
  if (there.length > 0) {
    output.error(`found ${there.join(' and ')}, which init does not overwrite: nothing is written`)
    return exitCodes.failed
  }
  try {
    makeFolder(folder, 0o777)
    for (const [name, text] of files) await writeFile(path.join(folder, name), text, { flag: 'wx' })
  } catch (error) {
    output.error(`the files cannot be written: ${reason(error)}`)
    return exitCodes.failed
  }
  for (const [name] of files) output.out(`wrote ${shown(name)}`)
  output.out(`try: npx signalbox serve${named && ` ${shown('gateway.yaml')}`}`)
  return exitCodes.ok
}
