/** Lets everything that is said in one turn of the event loop leave in one write a socket. */
import { Corker } from '../../src/runtime/corker.ts'
import { Batch } from './batch.ts'

/** A queue for all sockets of a listener. */
export class BatchCorker extends Corker {
  /** What every socket's batch of this turn begins with. */
  start = Batch.empty()

  override flush(): void {
    super.flush()
    // Nothing that was said is kept.
    this.start = Batch.empty()
  }
}
