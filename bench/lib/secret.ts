/** The key of every contender: 32 bytes, in ASCII. */
export const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"
