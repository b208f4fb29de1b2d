/** What the processes of one gateway and the one that started them say to each other. */
import cluster from 'node:cluster'

/** To a process: to let open scopes finish and end, or to read the YAML again. */
export type Order = { readonly kind: 'close'; readonly why: string } | { readonly kind: 'reload' }

/** From a process. */
export type News =
  | { readonly kind: 'serving'; readonly greeting: string }
  /** It has read the YAML again because it was asked to over its admin listener: so should the others. */
  | { readonly kind: 'reloaded' }

/** The process that started this one, as this one sees it. */
export class Primary {
  /** Undefined: this process was started alone. */
  static find(): Primary | undefined {
    return cluster.isWorker ? new Primary() : undefined
  }

  private constructor() {}

  tell(news: News): void {
    // It may be gone already; then this process ends too.
    if (process.connected) process.send?.(news)
  }

  /** Called at each order; the end of the primary is one to close. */
  onOrder(obey: (order: Order) => void): Disposable {
    const { worker } = cluster
    const onMessage = (message: unknown) => {
      if (isOrder(message)) obey(message)
    }
    const onDisconnect = () => {
      // Without this Node ends the process here and now.
      if (worker) worker.exitedAfterDisconnect = true
      obey({ kind: 'close', why: 'the end of the process that started this one' })
    }
    process.on('message', onMessage)
    worker?.once('disconnect', onDisconnect)
    return {
      [Symbol.dispose]: () => {
        process.off('message', onMessage)
        worker?.off('disconnect', onDisconnect)
      },
    }
  }
}

const kindOf = (message: unknown): unknown =>
  typeof message === 'object' && message !== null ? Reflect.get(message, 'kind') : undefined

const isOrder = (message: unknown): message is Order => ['close', 'reload'].includes(String(kindOf(message)))

/** Handlers may send messages of their own. */
export const isNews = (message: unknown): message is News => ['serving', 'reloaded'].includes(String(kindOf(message)))
