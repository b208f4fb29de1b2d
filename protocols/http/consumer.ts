/** The base class of consumers for HTTP, and the same for a plain function. */
import type { Context } from '../../src/asgi/context.ts'
import type { Application, Receive } from '../../src/asgi/protocol.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { bodyOf, isAnswer, startOf } from './answer.ts'
import { Intake } from './intake.ts'
import { HttpRequestReader, type HttpAnswer } from './request.ts'
import { isResponse, sendResponse } from './response.ts'
import type { HttpProtocol } from './scope.ts'
import { WatchedContext } from './watched-context.ts'

/** What a handler answers with: plain values, which cost least, or a web-standard Response, whose body may be a stream. */
export type HttpReply = HttpAnswer | Response

/** What the intake of a request is made of, if it comes to that. */
interface Ready {
  readonly receive: Receive<HttpProtocol>
  readonly failed: (error: unknown) => void
}

/**
 * One object a request. Messages to its groups are handled beside `handle`, also while a response is being streamed.
 *
 * @example
 * class Hello extends HttpConsumer {
 *   override async handle({ params }: HttpRequestReader) {
 *     return { body: `Hello, ${params.name}` }
 *   }
 * }
 */
export abstract class HttpConsumer extends Consumer<HttpProtocol> {
  protected readonly lastEvent = 'http.disconnect'
  #ready: Ready | undefined
  #context: Context | undefined
  #intake: Intake | undefined

  /** Answers the request. An answer that is thrown is the answer too; whatever else is thrown is answered 500. */
  abstract handle(request: HttpRequestReader): Promise<HttpReply> | HttpReply

  override get context(): Context {
    const ready = this.#ready
    if (!ready) return super.context
    // Who opens the channel gets messages.
    this.#context ??= new WatchedContext(super.context, () => this.#open(ready))
    return this.#context
  }

  protected override run(receive: Receive<HttpProtocol>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // The response is what counts; a message handler that raises ends it all the same.
    this.#answer({ receive, failed: reject }).then(resolve, reject)
    return promise
  }

  async #answer(ready: Ready): Promise<void> {
    const joining = this.joinGroups()
    if (joining) {
      await joining
      this.#open(ready)
    }
    this.#ready = ready
    const reply = await this.#handled(new HttpRequestReader(this.scope, () => this.#open(ready).nextPart()))
    if (isResponse(reply)) return sendResponse(reply, this)
    await this.send(startOf(reply))
    await this.send(bodyOf(reply))
  }

  async #handled(request: HttpRequestReader): Promise<HttpReply> {
    try {
      return await this.handle(request)
    } catch (error) {
      if (isAnswer(error)) return error
      throw error
    }
  }

  #open({ receive, failed }: Ready): Intake {
    this.#intake ??= new Intake({ receive, failed, dispatch: (message) => this.dispatch(message) })
    return this.#intake
  }
}

/**
 * Makes an application of a function: `export const hello = httpHandler(({ params }) => ({ body: params.name }))`.
 * An answer that it throws is the answer too; whatever else it throws is answered 500.
 */
export function httpHandler(
  handle: (request: HttpRequestReader, context: Context) => Promise<HttpReply> | HttpReply,
): Application<HttpProtocol> {
  class Handler extends HttpConsumer {
    override handle(request: HttpRequestReader): Promise<HttpReply> | HttpReply {
      return handle(request, this.context)
    }
  }
  return Handler.asApplication()
}
