/** The base class of consumers for HTTP, and the same for a plain function. */
import type { Context } from '../../src/asgi/context.ts'
import type { Application, Receive } from '../../src/asgi/protocol.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { serves, type Serves } from '../../src/runtime/serves.ts'
import { settled } from '../../src/runtime/settled.ts'
import { bodyOf, checkAnswer, checkHandle, isAnswer, startOf } from './answer.ts'
import { Intake } from './intake.ts'
import { HttpRequestReader, type HttpAnswer } from './request.ts'
import { isResponse, sendResponse } from './response.ts'
import type { HttpProtocol } from './scope.ts'
import { WatchedContext } from './watched-context.ts'

/** What a handler answers with: plain values, which cost least, or a web-standard Response, whose body may be a stream. */
export type HttpReply = HttpAnswer | Response

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
  static override readonly [serves]: Serves = { protocols: ['http'], methods: ['handle'] }
  protected readonly lastEvent = 'http.disconnect'
  /** Where the events of the request come from; undefined while its groups are being joined. */
  #receive: Receive<HttpProtocol> | undefined
  #context: Context | undefined
  #intake: Intake | undefined
  /** Told when a message could not be handled. */
  #failed: (error: unknown) => void = ignore

  /** Answers the request. An answer that is thrown is the answer too; whatever else is thrown is answered 500. */
  abstract handle(request: HttpRequestReader): Promise<HttpReply> | HttpReply

  override get context(): Context {
    const receive = this.#receive
    if (!receive) return super.context
    // Who opens the channel gets messages.
    this.#context ??= new WatchedContext(super.context, () => this.#open(receive))
    return this.#context
  }

  protected override run(receive: Receive<HttpProtocol>): Promise<void> {
    const joining = this.joinGroups()
    if (!joining) return this.#answer(receive)
    return joining.then(() => {
      this.#open(receive)
      return this.#answer(receive)
    })
  }

  /** Without a promise of its own where the handler has its answer at once and the peer takes it. */
  #answer(receive: Receive<HttpProtocol>): Promise<void> {
    this.#receive = receive
    let answering: Promise<void>
    try {
      const reply = this.handle(new HttpRequestReader(this.scope, () => this.#open(receive).nextPart()))
      checkAnswer(reply, this.scope)
      answering = isPromise(reply) ? this.#sayLater(reply) : this.#say(reply)
    } catch (error) {
      answering = this.#sayThrown(checkHandle(this, error))
    }
    if (answering === settled) return answering
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // The response is what counts; a message handler that raises ends it all the same.
    this.#failed = reject
    answering.then(resolve, reject)
    return promise
  }

  async #sayLater(answering: Promise<HttpReply>): Promise<void> {
    let reply: HttpReply
    try {
      reply = await answering
    } catch (error) {
      return this.#sayThrown(error)
    }
    checkAnswer(reply, this.scope)
    return this.#say(reply)
  }

  #sayThrown(error: unknown): Promise<void> {
    return isAnswer(error) ? this.#say(error) : Promise.reject(error)
  }

  #say(reply: HttpReply): Promise<void> {
    if (isResponse(reply)) return sendResponse(reply, this)
    const started = this.send(startOf(reply))
    const rest = () => this.send(bodyOf(reply))
    return started === settled ? rest() : started.then(rest)
  }

  #open(receive: Receive<HttpProtocol>): Intake {
    this.#intake ??= new Intake({
      receive,
      failed: (error) => this.#failed(error),
      dispatch: (message) => this.dispatch(message),
    })
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

function isPromise(reply: Promise<HttpReply> | HttpReply): reply is Promise<HttpReply> {
  return 'then' in reply
}

function ignore(): void {}
