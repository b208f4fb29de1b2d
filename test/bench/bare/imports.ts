/** The bare libraries, imported, and nothing else: what a start cannot take less than. */

const libraries = ['node:http', 'aedes', 'smtp-server', 'twilio/lib/webhooks/webhooks.js', 'ws']

await Promise.all(libraries.map((name) => import(name)))
process.stdout.write('serving\n')
