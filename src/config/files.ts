/** Files that a listener or a layer will read when it opens: that they can be read, and used, is known now. */
import { accessSync, constants, readFileSync } from 'node:fs'
import path from 'node:path'
import type { TlsFiles } from '../asgi/adapter.ts'
import type { Path, Report } from './diagnostics.ts'
import { found, locate, type ConfigNode } from './nodes.ts'

interface Place {
  /** What the YAML says here, and where that stands in the document. */
  readonly node: ConfigNode
  readonly path: Path
  /** The setting below it. */
  readonly setting: Path
}

/** Reports a PEM file that cannot be read, and says whether it can be; relative ones start at `base`. */
export function checkPemFile(report: Report, base: string, file: string, place: Place): boolean {
  try {
    accessSync(path.resolve(base, file), constants.R_OK)
    return true
  } catch {
    reportFile(report, place, 'cannot be read, expected a PEM file')
    return false
  }
}

/** Reports a certificate and a key that cannot be read or used together; `setting` is above both. */
export function checkPemPair(report: Report, base: string, files: TlsFiles, place: Place): void {
  const below = (name: string): Place => ({ ...place, setting: [...place.setting, name] })
  const [certPlace, keyPlace] = [below('cert'), below('key')]
  const readable = [checkPemFile(report, base, files.cert, certPlace), checkPemFile(report, base, files.key, keyPlace)]
  if (readable.includes(false)) return
  const cert = readFileSync(path.resolve(base, files.cert))
  const key = readFileSync(path.resolve(base, files.key))
  if (!isUsable({ cert })) {
    reportFile(report, certPlace, 'holds no certificate that can be used, expected one in PEM')
  } else if (!isUsable({ key })) {
    reportFile(report, keyPlace, 'holds no private key that can be used, expected one in PEM, without a password')
  } else if (!isPair(cert, key)) {
    reportFile(report, keyPlace, 'is not the key of the certificate, expected the one that it was made with')
  }
}

function reportFile(report: Report, { node, path: above, setting }: Place, problem: string): void {
  const located = locate(node, setting)
  const what = located.node ? found(located.node) : 'a file'
  report.error(located.offset, [...above, ...setting], `found ${what}, which ${problem}`)
}

/** As whoever opens with them will ask. */
function isUsable(files: { readonly cert?: Buffer; readonly key?: Buffer }): boolean {
  try {
    // Loaded when there is TLS.
    process.getBuiltinModule('node:tls').createSecureContext({ ...files, minVersion: 'TLSv1.2' })
    return true
  } catch {
    return false
  }
}

/** A key of another kind than the certificate's is taken by whoever opens, and fails every peer. */
function isPair(cert: Buffer, key: Buffer): boolean {
  const { X509Certificate, createPrivateKey } = process.getBuiltinModule('node:crypto')
  return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
}
