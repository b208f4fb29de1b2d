/** A disk that is soon full: a small file system on a folder, where this user may mount one. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

export class SmallDisk implements Disposable {
  readonly isMounted: boolean
  readonly #folder: string

  /** `size` as `mount` has it: `4m`. */
  constructor(folder: string, size: string) {
    this.#folder = folder
    this.isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]).status === 0
  }

  get #filler(): string {
    return path.join(this.#folder, 'filler')
  }

  fill(): void {
    const handle = fs.openSync(this.#filler, 'w')
    try {
      for (;;) fs.writeSync(handle, Buffer.alloc(4096))
    } catch {
      fs.closeSync(handle)
    }
  }

  makeRoom(): void {
    fs.rmSync(this.#filler)
  }

  [Symbol.dispose](): void {
    if (this.isMounted) spawnSync('umount', [this.#folder])
  }
}
