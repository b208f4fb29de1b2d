/** A socket in the data folder, by which the commands of whoever owns the folder reach the gateway that runs on it. */
import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import type { IncomingMessage, Server } from 'node:http'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import type { Log } from '../asgi/context.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { createServer, request } from '../runtime/node-http.ts'
import { LateDesk, type LateDeskParts } from './late-desk.ts'

const maxBodySize = 1024 * 1024

/** Where the socket of a journal's folder is. */
export function controlPath(folder: string): string {
  return path.join(folder, 'control.sock')
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
export async function askControl<T>(folder: string, where: string, { question, signal }: Question): Promise<T> {
  const body = question && JSON.stringify(question)
  const asked = request({
    socketPath: controlPath(folder),
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

  /** Undefined where there can be none, such as below a path of more than a hundred letters: then the log says so. */
  static async open(folder: string, places: LateDeskParts['places'], log: Log): Promise<ControlSocket | undefined> {
    const file = controlPath(folder)
    // The file alone says who may come in.
    const desk = new LateDesk({ places, log, maxBodySize, probes: false, refuse: () => undefined })
    const server = createServer((request, response) => void desk.serve(request, response))
    try {
      // One that a killed process left: the journal's lock says that it is gone.
      await rm(file, { force: true })
      // Several processes that share their ports do not share this.
      server.listen({ path: file, exclusive: true })
      await once(server, 'listening')
      await chmod(file, 0o600)
    } catch (error) {
      server.close()
      log.warn({ err: error, file }, `commands cannot reach this gateway: ${reason(error)}`)
      return undefined
    }
    server.on('error', (error) => log.error({ err: error }, 'the control socket failed'))
    return new ControlSocket(server)
  }

  private constructor(server: Server) {
    this.#server = server
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }
}
