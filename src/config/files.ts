/** Files that a listener or a layer will read when it opens: that they can be read is known now. */
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import type { Path, Report } from './diagnostics.ts'
import { found, locate, type ConfigNode } from './nodes.ts'

interface Place {
  /** What the YAML says here, and where that stands in the document. */
  readonly node: ConfigNode
  readonly path: Path
  /** The setting below it. */
  readonly setting: Path
}

/** Reports a PEM file that cannot be read; relative ones start at `base`. */
export function checkPemFile(report: Report, base: string, file: string, { node, path: above, setting }: Place): void {
  try {
    accessSync(path.resolve(base, file), constants.R_OK)
  } catch {
    const located = locate(node, setting)
    const what = located.node ? found(located.node) : 'a file'
    const message = `found ${what}, which cannot be read, expected a PEM file`
    report.error(located.offset, [...above, ...setting], message)
  }
}
