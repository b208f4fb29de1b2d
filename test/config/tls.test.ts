/** A certificate and a key that no listener could open with are found before one tries, with their line. */
import { expect, test } from '@jest/globals'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { mistakes, withTop } from '../support/config-text.ts'

const folder = path.join(import.meta.dirname, '..', 'support', 'tls')
const cert = path.join(folder, 'cert.pem')
const key = path.join(folder, 'key.pem')

/** With these two, for a listener and for Redis, without the folders. */
async function said(files: { readonly cert: string; readonly key: string }): Promise<readonly string[]> {
  const tls = [`      cert: ${files.cert}`, `      key: ${files.key}`]
  const found = await mistakes(
    withTop('listen:\n  http:\n    tls:', ...tls, 'layer:\n  redis:\n    url: rediss://127.0.0.1\n    tls:', ...tls),
  )
  return found.map((line) => line.replaceAll(/"[^"]*\//g, '"'))
}

const twice = (line: number, column: number, setting: string, message: string) => [
  `${line}:${column} listen.http.tls.${setting} ${message}`,
  `${line + 6}:${column} layer.redis.tls.${setting} ${message}`,
]

test('a certificate and its key are taken', async () => {
  expect(await said({ cert, key })).toEqual([])
})

test('a file without a key, or without a certificate', async () => {
  expect(await said({ cert, key: cert })).toEqual(
    twice(
      5,
      12,
      'key',
      'found "cert.pem", which holds no private key that can be used, expected one in PEM, without a password',
    ),
  )
  expect(await said({ cert: key, key })).toEqual(
    twice(4, 13, 'cert', 'found "key.pem", which holds no certificate that can be used, expected one in PEM'),
  )
})

test('a key that is locked, or that of another certificate', async () => {
  const own = await mkdtemp(path.join(tmpdir(), 'signalbox-tls-'))
  try {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const other = path.join(own, 'other.pem')
    await writeFile(other, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    expect(await said({ cert, key: other })).toEqual(
      twice(
        5,
        12,
        'key',
        'found "other.pem", which is not the key of the certificate, expected the one that it was made with',
      ),
    )
    await writeFile(other, privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }))
    expect(await said({ cert, key: other })).toEqual([
      expect.stringMatching(/^5:12 listen.*which holds no private key that can be used/),
      expect.stringMatching(/^11:12 layer/),
    ])
  } finally {
    await rm(own, { recursive: true })
  }
})
