/** A socket in the data folder, by which the commands of whoever owns the folder reach the gateway that runs on it. */
import { once } from 'node:events'
import { chmod, mkdtemp, rm, rmdir, symlink, unlink } from 'node:fs/promises'
import type { IncomingMessage, Server } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import type { Log } from '../asgi/context.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { createServer, request } from '../runtime/node-http.ts'
import { LateDesk, type LateDeskParts } from './late-desk.ts'

const maxBodySize = 1024 * 1024

/** Bytes that the path of a socket may have; some systems take 104, with the zero at its end. */
const longestPath = 103

/** Where the socket of a journal's folder is. */
function controlPath(folder: string): string {
  return path.join(folder, 'control.sock')
}

/** Uses the path of that socket; when it is too long for a socket, one through a link that is there for as long as that takes. */
async function reaching<T>(folder: string, use: (socket: string) => Promise<T>): Promise<T> {
  const own = controlPath(folder)
  if (Buffer.byteLength(own) <= longestPath) return await use(own)
  const place = await mkdtemp(path.join(tmpdir(), 'signalbox-socket-'))
  await using undone = new AsyncDisposableStack()
  undone.defer(() => rmdir(place))
  const link = path.join(place, 'data')
  await symlink(path.resolve(folder), link)
  undone.defer(() => unlink(link))
  return await use(controlPath(link))
}

interface Question {
  /** Left out: it is only asked for. */
  readonly question?: object
  readonly signal: AbortSignal
}

/**
 * Asks whoever runs on a journal's folder; the answer has the shape that its side says.
 * @throws SignalboxError `bad_message`, `send_failed` with what it says instead of an answer; an error with code `ENOENT` or
 * `ECONNREFUSED` when nobody does.
 */
export function askControl<T>(folder: string, where: string, question: Question): Promise<T> {
  return reaching(folder, (socketPath) => ask<T>(socketPath, where, question))
}

async function ask<T>(socketPath: string, where: string, { question, signal }: Question): Promise<T> {
  const body = question && JSON.stringify(question)
  const asked = request({
    socketPath,
    path: where,
    signal,
    method: body === undefined ? 'GET' : 'POST',
    headers:
      body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  })
  asked.end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const answer = (await text(response)).trim()
  if (response.statusCode === 200) return JSON.parse(answer) as T
  if (response.statusCode === 422) throw new SignalboxError('bad_message', answer)
  throw new SignalboxError('send_failed', `the gateway answers ${response.statusCode}: ${answer}`)
}

export class ControlSocket {
  readonly #server: Server
  readonly #file: string

  /** Undefined where there can be none, such as on a file system that has no sockets: then the log says so. */
  static async open(folder: string, places: LateDeskParts['places'], log: Log): Promise<ControlSocket | undefined> {
    const file = controlPath(folder)
    // The file alone says who may come in.
    const desk = new LateDesk({ places, log, maxBodySize, probes: false, refuse: () => undefined })
    const server = createServer((request, response) => void desk.serve(request, response))
    try {
      // One that a killed process left: the journal's lock says that it is gone.
      await rm(file, { force: true })
      // Several processes that share their ports do not share this.
      await reaching(folder, async (socket) => {
        server.listen({ path: socket, exclusive: true })
        await once(server, 'listening')
      })
      await chmod(file, 0o600)
    } catch (error) {
      server.close()
      log.warn({ err: error, file }, `commands cannot reach this gateway: ${reason(error)}`)
      return undefined
    }
    server.on('error', (error) => log.error({ err: error }, 'the control socket failed'))
    return new ControlSocket(server, file)
  }

  private constructor(server: Server, file: string) {
    this.#server = server
    this.#file = file
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
    // Who bound it takes it away by the path that it was bound by, which may be gone.
    await rm(this.#file, { force: true })
  }
}
